package git

import (
	"context"
	"fmt"
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
