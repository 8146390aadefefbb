package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

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
