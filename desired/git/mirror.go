package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mirror is a bare copy of one branch's history of a remote repository, kept on disk. Two processes may share one: writers take
// turns by a lock, and readers see only refs whose objects were complete when the ref was written.
type Mirror struct {
	*Repo
	url    string
	branch string
}

// Tip is where a remote branch stands, and what that means for what was known before.
type Tip struct {
	Commit    Hash
	Before    Hash // what the mirror had accepted before; "" on the first fetch
	Rewritten bool // Commit is no descendant of Before: the branch was rewritten, and Before stays accepted
}

// remoteRef is where the remote branch stood at the last fetch.
const remoteRef = "refs/gitgate/remote"

// acceptedFile holds the newest commit that was a descendant of all accepted before. It lies beside the repository and not in
// it, so that it outlives a repository that has to be made anew: else damage would make a rewritten branch look like a first one.
const acceptedFile = "accepted"

var branchPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@-]*$`)

// OpenMirror opens or makes the mirror of a branch in dir, a folder of its own. It does not talk to the remote. A folder that
// is no usable repository (a torn first fetch, a lost file) is made anew; a folder with anything else in it is refused.
func OpenMirror(ctx context.Context, dir, url, branch string) (*Mirror, error) {
	if err := checkURL(url); err != nil {
		return nil, err
	}
	if !branchPattern.MatchString(branch) || strings.Contains(branch, "..") || strings.HasSuffix(branch, ".lock") {
		return nil, fmt.Errorf("branch %q is no name of a branch", branch)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	m := &Mirror{Repo: &Repo{dir: filepath.Join(dir, "repo.git"), env: environment()}, url: url, branch: branch}
	return m, m.locked(ctx, func() error { return m.prepare(ctx) })
}

var helperPattern = regexp.MustCompile(`^[A-Za-z0-9+.-]+::`)

// checkURL refuses what git would take for an option or for a protocol that starts a program.
func checkURL(url string) error {
	switch {
	case url == "", strings.HasPrefix(url, "-"), strings.ContainsAny(url, "\n\x00"):
		return fmt.Errorf("address %q of a repository: expected https, ssh, file or a path", withoutCredentials(url))
	case helperPattern.MatchString(url):
		return fmt.Errorf("address %q of a repository: transport helpers are not allowed", withoutCredentials(url))
	}
	return nil
}

func (m *Mirror) prepare(ctx context.Context) error {
	whole := m.usable(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("mirror %s: %w", m.dir, context.Cause(ctx)) // a check that was cut short is no damage
	}
	if whole {
		return nil
	}
	if err := m.Close(); err != nil {
		return err
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("mirror %s: %w", m.dir, err)
	}
	fresh := m.dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("mirror %s: %w", m.dir, err)
	}
	bare := &Repo{env: m.env}
	if _, err := bare.runIn(ctx, filepath.Dir(m.dir), nil, "init", "--quiet", "--bare", "--template=", fresh); err != nil {
		return fmt.Errorf("mirror %s: %w", m.dir, err)
	}
	if err := os.Rename(fresh, m.dir); err != nil {
		return fmt.Errorf("mirror %s: %w", m.dir, err)
	}
	return nil
}

// usable says whether the repository is whole as far as its accepted commit goes: the commit and all its trees and blobs are
// there. A fetch that was cut off leaves no ref behind, but a disk that lost files does.
func (m *Mirror) usable(ctx context.Context) bool {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		return false
	}
	if _, err := m.run(ctx, "rev-parse", "--git-dir"); err != nil {
		return false
	}
	known, err := m.run(ctx, "for-each-ref", "--format=%(objectname)", remoteRef)
	if err != nil {
		return false
	}
	if h := strings.TrimSpace(string(known)); h != "" {
		if _, err := m.run(ctx, "rev-list", "--objects", "--quiet", "-n", "1", h); err != nil {
			return false
		}
	}
	return true
}

// Accepted returns the accepted commit, "" before the first fetch.
func (m *Mirror) Accepted(context.Context) (Hash, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(m.dir), acceptedFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("accepted commit: %w", err)
	}
	h := Hash(strings.TrimSpace(string(text)))
	if !hashPattern.MatchString(string(h)) {
		return "", fmt.Errorf("accepted commit: file %s of the mirror is damaged; a person has to accept a commit again", acceptedFile)
	}
	return h, nil
}

// Newest is where the branch stood when it was last fetched, also after a rewrite; ErrNotFound before the first fetch.
func (m *Mirror) Newest(ctx context.Context) (Hash, error) { return m.Resolve(ctx, remoteRef) }

// Fetch brings the branch's history and says where it stands now. When the branch was rewritten the accepted commit stays where
// it was until Accept names another. The whole history is fetched: which commits were once accepted depends on it.
func (m *Mirror) Fetch(ctx context.Context) (Tip, error) {
	var tip Tip
	err := m.locked(ctx, func() error {
		if err := m.prepare(ctx); err != nil {
			return err
		}
		spec := "+refs/heads/" + m.branch + ":" + remoteRef
		if _, err := m.run(ctx, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc", "--", m.url, spec); err != nil {
			return m.explain(err)
		}
		var err error
		if tip.Commit, err = m.Resolve(ctx, remoteRef); err != nil {
			return err
		}
		if tip.Before, err = m.Accepted(ctx); err != nil {
			return err
		}
		if tip.Before != "" {
			// A commit that the whole history does not hold (exit code 128) is no ancestor either.
			descends, err := m.IsAncestor(ctx, tip.Before, tip.Commit)
			if err != nil && exitCode(err) != 128 {
				return err
			}
			if !descends {
				tip.Rewritten = true
				return nil
			}
		}
		return m.accept(tip.Commit)
	})
	return tip, err
}

// Accept makes a commit the accepted one although the branch was rewritten: what a person decides.
func (m *Mirror) Accept(ctx context.Context, h Hash) error {
	return m.locked(ctx, func() error {
		if _, err := m.Resolve(ctx, string(h)); err != nil {
			return err
		}
		return m.accept(h)
	})
}

func (m *Mirror) accept(h Hash) error {
	name := filepath.Join(filepath.Dir(m.dir), acceptedFile)
	if err := os.WriteFile(name+".new", []byte(h+"\n"), 0o600); err != nil {
		return fmt.Errorf("accepted commit: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("accepted commit: %w", err)
	}
	return nil
}

// ErrBranch is the error of a remote that does not have the branch.
var ErrBranch = errors.New("the remote has no such branch")

// ErrDenied is the error of a remote that wants other credentials.
var ErrDenied = errors.New("the remote refused the credentials")

// ErrUnreachable is the error of a remote that did not answer as a Git server.
var ErrUnreachable = errors.New("the remote could not be reached")

// explain names why a fetch failed, from what git prints (its messages are stable under LC_ALL=C).
func (m *Mirror) explain(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("fetch of %s: %w", withoutCredentials(m.url), err)
	}
	said := strings.ToLower(err.Error())
	why := ErrUnreachable
	switch {
	case strings.Contains(said, "couldn't find remote ref"):
		return fmt.Errorf("fetch of %s: branch %s: %w", withoutCredentials(m.url), m.branch, ErrBranch)
	case strings.Contains(said, "authentication failed"), strings.Contains(said, "terminal prompts disabled"),
		strings.Contains(said, "permission denied"), strings.Contains(said, "returned error: 403"), strings.Contains(said, "returned error: 401"):
		why = ErrDenied
	}
	return fmt.Errorf("fetch of %s: %w: %w", withoutCredentials(m.url), why, err)
}

// locked runs f while this process is the only writer of the mirror. The lock ends with the process, so a crash leaves none.
func (m *Mirror) locked(ctx context.Context, f func() error) error {
	file, err := os.OpenFile(filepath.Join(filepath.Dir(m.dir), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	defer file.Close()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("mirror: lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("mirror: another process holds it: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	// git leaves its own lock files when it is killed; nobody else can hold them while this lock is held.
	for _, name := range []string{"shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock", remoteRef + ".lock"} {
		if err := os.Remove(filepath.Join(m.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mirror: %w", err)
		}
	}
	return f()
}
