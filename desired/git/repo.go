// Package git reads Git repositories and keeps mirrors of remote ones. It is the only package that starts the git program, and
// it knows nothing of Kubernetes: commits, trees, blobs, differences and blame go out as plain data. What a repository holds is
// never executed: hooks, filters, external diffs and the ext transport are switched off.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Hash is the full hexadecimal name of a Git object: 40 digits (SHA-1) or 64 (SHA-256).
type Hash string

// Short is the first ten digits, for people.
func (h Hash) Short() string { return string(h[:min(10, len(h))]) }

var hashPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// ErrNotFound is the error of a revision, commit or file that the repository does not have.
var ErrNotFound = errors.New("not found in the repository")

// Repo is one repository on disk. It is safe for concurrent use. Close ends the process that reads its objects.
type Repo struct {
	dir string   // the Git folder
	env []string // environment of every git process

	mu    sync.Mutex
	batch *objectReader
}

// Open opens the repository that holds dir: a work tree, a folder inside one, or a bare repository. The second result is the
// root of the work tree, "" for a bare repository.
func Open(ctx context.Context, dir string) (*Repo, string, error) {
	r := &Repo{env: environment()}
	out, err := r.runIn(ctx, dir, nil, "rev-parse", "--path-format=absolute", "--git-dir", "--is-bare-repository")
	if err != nil {
		return nil, "", fmt.Errorf("folder %s is in no Git repository: %w", dir, err)
	}
	gitDir, bare, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if bare == "true" {
		r.dir = gitDir
		return r, "", nil
	}
	// Asked before r.dir is set: with --git-dir, git takes the current folder for the root of the work tree.
	top, err := r.runIn(ctx, dir, nil, "rev-parse", "--path-format=absolute", "--show-toplevel")
	if err != nil {
		return nil, "", fmt.Errorf("work tree of %s: %w", dir, err)
	}
	r.dir = gitDir
	return r, strings.TrimSuffix(string(top), "\n"), nil
}

// Close ends what r has started.
func (r *Repo) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.batch == nil {
		return nil
	}
	err := r.batch.close()
	r.batch = nil
	return err
}

// environment is what git is given: the user's, so that credentials work as they do for git, less what would point it at
// another repository or start a program on behalf of what is read.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE",
			"GIT_COMMON_DIR", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "PAGER", "GIT_EDITOR", "GIT_TRACE", "GIT_CEILING_DIRECTORIES":
			continue
		}
		env = append(env, kv)
	}
	return append(env, "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_LITERAL_PATHSPECS=1", "LC_ALL=C")
}

// guards switch off what could execute a program or follow a foreign protocol because of a repository's content or settings.
var guards = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "diff.external=",
	"-c", "protocol.ext.allow=never", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always", "-c", "protocol.http.allow=always",
	"-c", "protocol.ssh.allow=always", "-c", "protocol.file.allow=always", "-c", "submodule.recurse=false", "-c", "gc.auto=0",
	"-c", "maintenance.auto=false", "-c", "core.quotePath=false", "-c", "log.showSignature=false", "-c", "core.commitGraph=true",
	"-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true", "-c", "fetch.fsck.missingSpaceBeforeDate=warn",
	"-c", "fetch.fsck.zeroPaddedFilemode=warn", "-c", "fetch.fsck.zeroPaddedDate=warn",
}

// commandError is a git process that failed, with what it said.
type commandError struct {
	verb   string
	stderr string
	err    error
}

func (e *commandError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("git %s: %v", e.verb, e.err)
	}
	return fmt.Sprintf("git %s: %s", e.verb, e.stderr)
}

func (e *commandError) Unwrap() error { return e.err }

// exitCode is the code with which a git process ended, or -1.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// maxOutput bounds what one git process may say.
const maxOutput = 1 << 30

func (r *Repo) run(ctx context.Context, args ...string) ([]byte, error) {
	return r.runIn(ctx, "", nil, args...)
}

func (r *Repo) runIn(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := r.command(ctx, dir, args...)
	cmd.Stdin = stdin
	var stdout, stderr bounded
	stdout.limit, stderr.limit = maxOutput, 64<<10
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	}
	if err == nil && stdout.over {
		err = fmt.Errorf("said more than %d bytes", stdout.limit)
	}
	if err != nil {
		return nil, &commandError{verb: args[0], stderr: withoutCredentials(strings.TrimSpace(stderr.buf.String())), err: err}
	}
	return stdout.buf.Bytes(), nil
}

func (r *Repo) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	full := append([]string{}, guards...)
	if r.dir != "" {
		full = append(full, "--git-dir", r.dir)
	}
	cmd := exec.CommandContext(ctx, "git", append(full, args...)...)
	cmd.Dir, cmd.Env = dir, r.env
	if r.dir != "" && dir == "" {
		cmd.Dir = filepath.Dir(r.dir)
	}
	return cmd
}

// bounded keeps the first limit bytes written to it.
type bounded struct {
	buf   bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.limit - b.buf.Len(); len(p) > room {
		b.over = true
		b.buf.Write(p[:room])
		return len(p), nil
	}
	return b.buf.Write(p)
}

var userinfoPattern = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/@\s]*@`)

// withoutCredentials takes user names and passwords out of the addresses in s.
func withoutCredentials(s string) string { return userinfoPattern.ReplaceAllString(s, "${1}") }

// Resolve returns the commit that a revision names. A text that git would take for an option is no revision.
func (r *Repo) Resolve(ctx context.Context, rev string) (Hash, error) {
	if rev == "" || strings.HasPrefix(rev, "-") || strings.ContainsAny(rev, "\n\x00") {
		return "", fmt.Errorf("revision %q: %w", rev, ErrNotFound)
	}
	out, err := r.run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		if exitCode(err) == 1 || exitCode(err) == 128 {
			return "", fmt.Errorf("revision %q: %w", rev, ErrNotFound)
		}
		return "", fmt.Errorf("revision %q: %w", rev, err)
	}
	h := Hash(strings.TrimSpace(string(out)))
	if !hashPattern.MatchString(string(h)) {
		return "", fmt.Errorf("revision %q: git answered %q, which is no commit", rev, h)
	}
	return h, nil
}

// IsAncestor says whether b can be reached from a's children: whether a is b or one of its ancestors.
func (r *Repo) IsAncestor(ctx context.Context, a, b Hash) (bool, error) {
	_, err := r.run(ctx, "merge-base", "--is-ancestor", string(a), string(b))
	switch exitCode(err) {
	case 1:
		return false, nil
	default:
		return err == nil, err
	}
}

// MergeBase returns the best common ancestor of a and b.
func (r *Repo) MergeBase(ctx context.Context, a, b Hash) (Hash, error) {
	out, err := r.run(ctx, "merge-base", string(a), string(b))
	if exitCode(err) == 1 {
		return "", fmt.Errorf("common ancestor of %s and %s: %w", a.Short(), b.Short(), ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	return Hash(strings.TrimSpace(string(out))), nil
}

// Remotes lists the addresses of the repository's remotes, without credentials.
func (r *Repo) Remotes(ctx context.Context) ([]string, error) {
	out, err := r.run(ctx, "config", "--get-regexp", `^remote\..*\.url$`)
	switch {
	case exitCode(errors.Unwrap(err)) == 1, exitCode(err) == 1:
		return nil, nil // there are none
	case err != nil:
		return nil, fmt.Errorf("remotes: %w", err)
	}
	var all []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if _, address, ok := strings.Cut(line, " "); ok {
			all = append(all, withoutCredentials(address))
		}
	}
	return all, nil
}
