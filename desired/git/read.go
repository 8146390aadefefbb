package git

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Commit is a commit as its object says it, unverified.
type Commit struct {
	Hash      Hash
	Tree      Hash
	Parents   []Hash
	Author    Person
	Committer Person
	Subject   string // first line of the message
}

// Person is a name as a commit gives it: a claim, not an identity.
type Person struct {
	Name, Email string
	When        time.Time
}

func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

const commitFormat = "%H%x00%T%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%s"

// Commit reads one commit.
func (r *Repo) Commit(ctx context.Context, h Hash) (Commit, error) {
	out, err := r.run(ctx, "log", "-1", "--no-mailmap", "-z", "--format="+commitFormat, string(h))
	if err != nil {
		return Commit{}, fmt.Errorf("commit %s: %w", h.Short(), err)
	}
	commits, err := parseCommits(out)
	if err != nil || len(commits) != 1 {
		return Commit{}, fmt.Errorf("commit %s: git answered %d commits: %w", h.Short(), len(commits), err)
	}
	return commits[0], nil
}

// FirstParents lists the commits on tip's first-parent history, newest first, down to but without since; all of them when since
// is "". It returns at most limit commits; 0 means no limit.
func (r *Repo) FirstParents(ctx context.Context, tip, since Hash, limit int) ([]Commit, error) {
	// The common case, one commit on top, needs no process.
	if since != "" {
		if raw, err := r.RawCommit(ctx, tip); err == nil {
			if c, ok := parseRaw(tip, raw); ok && len(c.Parents) > 0 && c.Parents[0] == since {
				return []Commit{c}, nil
			}
		}
	}
	return r.log(ctx, tip, since, limit, "--first-parent")
}

// Commits lists every commit that can be reached from tip and not from since, merged ones too, newest first.
func (r *Repo) Commits(ctx context.Context, tip, since Hash, limit int) ([]Commit, error) {
	return r.log(ctx, tip, since, limit)
}

func (r *Repo) log(ctx context.Context, tip, since Hash, limit int, more ...string) ([]Commit, error) {
	args := append([]string{"log", "--no-mailmap", "-z", "--format=" + commitFormat}, more...)
	if limit > 0 {
		args = append(args, "-n", strconv.Itoa(limit))
	}
	args = append(args, string(tip))
	if since != "" {
		args = append(args, "^"+string(since))
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", tip.Short(), err)
	}
	return parseCommits(out)
}

// parseRaw reads a commit as it is stored; ok is false for one that git has to be asked about, such as one in another encoding.
func parseRaw(h Hash, raw []byte) (c Commit, ok bool) {
	header, message, found := strings.Cut(string(raw), "\n\n")
	if !found || !utf8.Valid(raw) {
		return Commit{}, false
	}
	c.Hash = h
	if c.Parents, ok = parentsOf(raw); !ok {
		return Commit{}, false
	}
	for line := range strings.SplitSeq(header, "\n") {
		key, value, _ := strings.Cut(line, " ")
		ok := true
		switch key {
		case "tree":
			c.Tree = Hash(value)
		case "author":
			c.Author, ok = rawPerson(value)
		case "committer":
			c.Committer, ok = rawPerson(value)
		case "encoding":
			ok = false
		}
		if !ok {
			return Commit{}, false
		}
	}
	// The subject is the first paragraph, on one line.
	paragraph, _, _ := strings.Cut(strings.TrimLeft(message, "\n"), "\n\n")
	lines := strings.Split(strings.TrimRight(paragraph, " \t\n"), "\n")
	for i, line := range lines {
		if lines[i] = strings.TrimRight(line, " \t\r"); strings.TrimSpace(line) == "" {
			return Commit{}, false
		}
	}
	c.Subject = strings.Join(lines, " ")
	return c, hashPattern.MatchString(string(c.Tree)) && !c.Author.When.IsZero() && !c.Committer.When.IsZero()
}

var personPattern = regexp.MustCompile(`^([^<>\n]+) <([^<> \n]+)> ([0-9]{1,12}) [+-][0-9]{4}$`)

func rawPerson(value string) (Person, bool) {
	m := personPattern.FindStringSubmatch(value)
	if m == nil || strings.TrimSpace(m[1]) != m[1] {
		return Person{}, false
	}
	p, err := person(m[1:4])
	return p, err == nil
}

// parseCommits reads commitFormat: ten fields, each ended by a NUL.
func parseCommits(out []byte) ([]Commit, error) {
	if len(out) == 0 {
		return nil, nil
	}
	const n = 10
	f := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(f)%n != 0 {
		return nil, fmt.Errorf("git log answered %d fields, which is no multiple of %d", len(f), n)
	}
	var commits []Commit
	for ; len(f) > 0; f = f[n:] {
		c := Commit{Hash: Hash(f[0]), Tree: Hash(f[1]), Subject: f[9]}
		for p := range strings.FieldsSeq(f[2]) {
			c.Parents = append(c.Parents, Hash(p))
		}
		var err error
		if c.Author, err = person(f[3:6]); err != nil {
			return nil, err
		}
		if c.Committer, err = person(f[6:9]); err != nil {
			return nil, err
		}
		commits = append(commits, c)
	}
	return commits, nil
}

func person(f []string) (Person, error) {
	seconds, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return Person{}, fmt.Errorf("date %q of a commit: %w", f[2], err)
	}
	return Person{Name: f[0], Email: f[1], When: time.Unix(seconds, 0).UTC()}, nil
}

// Mode is what a tree says of an entry.
type Mode string

const (
	File       Mode = "100644"
	Executable Mode = "100755"
	Symlink    Mode = "120000"
	Submodule  Mode = "160000"
	Folder     Mode = "040000"
)

// Entry is one file or folder of a tree.
type Entry struct {
	Path string // slash-separated, from the root of the repository
	Mode Mode
	Hash Hash
	Size int64 // bytes; -1 where Git does not say: a folder, a submodule, an entry that a difference named
}

// Tree lists the files and folders of a commit below a folder ("" for all), in Git's order, with symlinks and submodules as
// themselves.
func (r *Repo) Tree(ctx context.Context, commit Hash, folder string) ([]Entry, error) {
	args := []string{"ls-tree", "-r", "-t", "-z", "--long", "--full-tree", string(commit)}
	if folder != "" && folder != "." {
		args = append(args, "--", strings.TrimSuffix(folder, "/")+"/")
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("files of commit %s: %w", commit.Short(), err)
	}
	var entries []Entry
	for record := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if record == "" {
			continue
		}
		meta, path, ok := strings.Cut(record, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 4 {
			return nil, fmt.Errorf("git ls-tree answered %q", record)
		}
		size := int64(-1)
		if f[3] != "-" {
			if size, err = strconv.ParseInt(f[3], 10, 64); err != nil {
				return nil, fmt.Errorf("git ls-tree answered %q: %w", record, err)
			}
		}
		entries = append(entries, Entry{Path: path, Mode: Mode(f[0]), Hash: Hash(f[2]), Size: size})
	}
	return entries, nil
}

// Difference is one file or folder that differs between two commits. A renamed file is one that is gone and one that is new.
type Difference struct {
	Path     string
	Old, New Hash // "" where the file is not there
	OldMode  Mode
	NewMode  Mode
}

// Diff lists the files and folders that differ between the trees of a and b.
func (r *Repo) Diff(ctx context.Context, a, b Hash) ([]Difference, error) {
	out, err := r.run(ctx, "diff-tree", "-r", "-t", "-z", "--no-renames", "--no-ext-diff", "--full-index", string(a), string(b))
	if err != nil {
		return nil, fmt.Errorf("difference of %s and %s: %w", a.Short(), b.Short(), err)
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	var diffs []Difference
	for i := 0; i+1 < len(fields); i += 2 {
		f := strings.Fields(strings.TrimPrefix(fields[i], ":"))
		if len(f) != 5 {
			return nil, fmt.Errorf("git diff-tree answered %q", fields[i])
		}
		diffs = append(diffs, Difference{Path: fields[i+1], OldMode: mode(f[0]), NewMode: mode(f[1]), Old: present(f[2]), New: present(f[3])})
	}
	return diffs, nil
}

func mode(s string) Mode {
	if s == "000000" {
		return ""
	}
	return Mode(s)
}

func present(s string) Hash {
	if strings.Trim(s, "0") == "" {
		return ""
	}
	return Hash(s)
}

// objectReader is a running `git cat-file --batch`.
type objectReader struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	stop context.CancelFunc
}

func (r *Repo) startReader() (*objectReader, error) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := r.command(ctx, "", "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	return &objectReader{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), stop: stop}, nil
}

func (o *objectReader) close() error {
	o.in.Close()
	defer o.stop()
	return o.cmd.Wait()
}

// Blob returns the content of a file's object. One larger than limit bytes is an error and is not read into memory.
func (r *Repo) Blob(ctx context.Context, h Hash, limit int64) ([]byte, error) {
	return r.object(ctx, h, "blob", limit)
}

// RawCommit returns a commit object as it is stored, whose signature covers it.
func (r *Repo) RawCommit(ctx context.Context, h Hash) ([]byte, error) {
	return r.object(ctx, h, "commit", 1<<20)
}

// TreeOf returns the root folder of a commit.
func (r *Repo) TreeOf(ctx context.Context, commit Hash) (Hash, error) {
	raw, err := r.RawCommit(ctx, commit)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	tree, ok := strings.CutPrefix(line, "tree ")
	if !ok || !hashPattern.MatchString(tree) {
		return "", fmt.Errorf("commit %s: names no tree", commit.Short())
	}
	return Hash(tree), nil
}

// maxFolder bounds the bytes of one folder's listing: some 300,000 names.
const maxFolder = 16 << 20

// Folder lists what is directly in a folder, by the hash of the folder; the paths are the names in it, in Git's order.
func (r *Repo) Folder(ctx context.Context, h Hash) ([]Entry, error) {
	raw, err := r.object(ctx, h, "tree", maxFolder)
	if err != nil {
		return nil, err
	}
	entries, ok := parseFolder(raw, len(h)/2)
	if !ok {
		return nil, fmt.Errorf("folder %s: is damaged", h.Short())
	}
	return entries, nil
}

// parseFolder reads a tree object: mode, space, name, NUL and the bytes of a hash for each entry.
func parseFolder(raw []byte, hashSize int) ([]Entry, bool) {
	var entries []Entry
	for len(raw) > 0 {
		space, end := bytes.IndexByte(raw, ' '), bytes.IndexByte(raw, 0)
		if space < 0 || end < space || len(raw) < end+1+hashSize {
			return nil, false
		}
		name := string(raw[space+1 : end])
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return nil, false
		}
		mode := Mode(raw[:space])
		switch mode {
		case "40000":
			mode = Folder
		case "100664": // by old versions of git
			mode = File
		}
		entries = append(entries, Entry{Path: name, Mode: mode, Hash: Hash(hex.EncodeToString(raw[end+1 : end+1+hashSize])), Size: -1})
		raw = raw[end+1+hashSize:]
	}
	return entries, true
}

func (r *Repo) object(ctx context.Context, h Hash, kind string, limit int64) ([]byte, error) {
	if !hashPattern.MatchString(string(h)) {
		return nil, fmt.Errorf("object %q: no full hash", h)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.batch == nil {
		batch, err := r.startReader()
		if err != nil {
			return nil, err
		}
		r.batch = batch
	}
	stop := context.AfterFunc(ctx, r.batch.stop)
	content, err := r.batch.read(h, kind, limit)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil && !isAnswer(err) {
		// The conversation is out of step: the next reader starts a new one.
		r.batch.stop()
		r.batch.close()
		r.batch = nil
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return content, err
}

// answerError is a well-formed answer of git that is not the object.
type answerError struct{ error }

func (e answerError) Unwrap() error { return e.error }

func isAnswer(err error) bool {
	_, ok := err.(answerError)
	return ok
}

func (o *objectReader) read(h Hash, kind string, limit int64) ([]byte, error) {
	if _, err := fmt.Fprintln(o.in, h); err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	header, err := o.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	f := strings.Fields(header)
	if len(f) == 2 && f[1] == "missing" {
		return nil, answerError{fmt.Errorf("object %s: %w", h.Short(), ErrNotFound)}
	}
	if len(f) != 3 {
		return nil, fmt.Errorf("object %s: git answered %q", h.Short(), header)
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("object %s: git answered %q", h.Short(), header)
	}
	if f[1] != kind || size > limit {
		if _, err := io.CopyN(io.Discard, o.out, size+1); err != nil {
			return nil, fmt.Errorf("object %s: %w", h.Short(), err)
		}
		if f[1] != kind {
			return nil, answerError{fmt.Errorf("object %s: is a %s, expected a %s", h.Short(), f[1], kind)}
		}
		return nil, answerError{fmt.Errorf("object %s: has %d bytes, more than the %d that are read", h.Short(), size, limit)}
	}
	content := make([]byte, size+1)
	if _, err := io.ReadFull(o.out, content); err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	return content[:size:size], nil
}

// BlamedLine is who last changed a line of a file.
type BlamedLine struct {
	Commit Hash
	Path   string // of the file in that commit
	Line   int    // 1-based line in that commit
}

// Blame says for each line of a file at a commit which commit last changed it.
func (r *Repo) Blame(ctx context.Context, commit Hash, path string) ([]BlamedLine, error) {
	out, err := r.run(ctx, "blame", "--porcelain", "--no-progress", "-l", string(commit), "--", path)
	if err != nil {
		return nil, fmt.Errorf("blame of %s at %s: %w", path, commit.Short(), err)
	}
	var lines []BlamedLine
	var current BlamedLine
	names := map[Hash]string{}
	for raw := range bytes.Lines(out) {
		line := strings.TrimSuffix(string(raw), "\n")
		switch {
		case strings.HasPrefix(line, "\t"):
			current.Path = names[current.Commit]
			lines = append(lines, current)
		case strings.HasPrefix(line, "filename "):
			names[current.Commit] = strings.TrimPrefix(line, "filename ")
		default:
			f := strings.Fields(line)
			if len(f) >= 3 && hashPattern.MatchString(f[0]) {
				n, err := strconv.Atoi(f[1])
				if err != nil {
					return nil, fmt.Errorf("git blame answered %q", line)
				}
				current = BlamedLine{Commit: Hash(f[0]), Line: n}
			}
		}
	}
	return lines, nil
}
