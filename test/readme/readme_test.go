// Package readme runs the commands that README.md and docs/ show and compares what they print with what is shown. It holds no
// code of the product.
package readme

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A block is shown as ```console: lines that begin with "$ " are commands, run one after another by one shell in the root of
// the repository, and what follows is what they print on both streams. A line "..." stands for any number of lines, and
// "[...]" in a line for any text. ```console NAME is run in a copy of the folder NAME of examples/ that is a repository of its own.
var consoleBlock = regexp.MustCompile("(?ms)^```console(?: ([a-z-]+))?\n(.*?)^```$")

const commandEnd = "\x1e"

func TestWhatTheDocumentsShowIsWhatHappens(t *testing.T) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(repo, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, filepath.Join(repo, "README.md"))
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "gitgate"), "./cmd/gitgate")
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building gitgate: %v\n%s", err, out)
	}
	total := 0
	for _, file := range documents {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range consoleBlock.FindAllSubmatchIndex(text, -1) {
			total++
			line := bytes.Count(text[:at[0]], []byte("\n")) + 1
			name := fmt.Sprintf("%s line %d", filepath.Base(file), line)
			t.Run(name, func(t *testing.T) {
				dir := repo
				if at[2] >= 0 {
					dir = exampleRepository(t, filepath.Join(repo, "examples", string(text[at[2]:at[3]])))
				}
				runBlock(t, dir, bin, string(text[at[4]:at[5]]))
			})
		}
	}
	if total == 0 {
		t.Error("no document shows a command: the pattern of the blocks has to be wrong")
	}
}

// exampleRepository copies an example and commits it twice: first with other numbers of replicas, by Ann, then as it is, by Ben.
func exampleRepository(t *testing.T, example string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	replicas := regexp.MustCompile(`(?m)^replicas: [0-9]+$`)
	commit := func(name, date, message string) {
		for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main"}, {"add", "--all"}, {"commit", "--quiet", "--message", message}} {
			cmd := exec.Command("git", append([]string{"-c", "commit.gpgSign=false"}, args...)...)
			cmd.Dir = dir
			who := []string{"NAME=" + name, "EMAIL=" + strings.ToLower(name) + "@example.com", "DATE=" + date + "T12:00:00Z"}
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
			for _, w := range who {
				cmd.Env = append(cmd.Env, "GIT_AUTHOR_"+w, "GIT_COMMITTER_"+w)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %s: %v\n%s", args[0], err, out)
			}
		}
	}
	changed := map[string][]byte{}
	err := filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasSuffix(file, ".values.yaml") || !replicas.Match(text) {
			return err
		}
		changed[file] = text
		return os.WriteFile(file, replicas.ReplaceAll(text, []byte("replicas: 2")), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	commit("Ann", "2026-10-05", "the fleet")
	for file, text := range changed {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(changed) > 0 {
		commit("Ben", "2026-11-02", "payments need three replicas")
	}
	return dir
}

// A link to a file of this repository leads somewhere.
func TestLinksOfTheDocumentsLeadToFiles(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, no document", pattern, err)
		}
		documents = append(documents, found...)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), target)); err != nil {
				t.Errorf("%s: link to %s: %v", filepath.Base(document), target, err)
			}
		}
	}
}

func runBlock(t *testing.T, repo, bin, block string) {
	t.Helper()
	var commands []string
	var shown [][]string
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			commands = append(commands, command)
			shown = append(shown, nil)
		} else if len(shown) == 0 {
			t.Fatalf("the block begins with output: %q", line)
		} else {
			shown[len(shown)-1] = append(shown[len(shown)-1], line)
		}
	}
	var script strings.Builder
	for _, command := range commands {
		fmt.Fprintf(&script, "%s\nrc=$?; printf '%s'; (exit $rc)\n", command, commandEnd)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = repo
	shell.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "COLUMNS=120")
	out, err := shell.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("the commands took too long: %v", err)
	}
	printed := strings.Split(string(out), commandEnd)
	if len(printed) < len(commands) {
		t.Fatalf("the shell stopped early: %v\n%s", err, out)
	}
	for i, command := range commands {
		got := strings.Split(strings.TrimRight(printed[i], "\n"), "\n")
		want := strings.Split(strings.TrimRight(strings.Join(shown[i], "\n"), "\n"), "\n")
		if !linesMatch(want, got) {
			t.Errorf("$ %s\nprints:\n%s\n\nbut is shown as:\n%s", command, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func linesMatch(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "..." {
		for i := range len(got) + 1 {
			if linesMatch(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && lineMatches(want[0], got[0]) && linesMatch(want[1:], got[1:])
}

func lineMatches(want, got string) bool {
	parts := strings.Split(want, "[...]")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^` + strings.Join(parts, ".*") + `$`).MatchString(strings.TrimRight(got, " "))
}

func TestLinesMatchAsTheDocumentsMean(t *testing.T) {
	for _, tc := range []struct {
		name, want, got string
		match           bool
	}{
		{"equal lines match", "a\nb", "a\nb", true},
		{"a missing line does not match", "a\nb", "a", false},
		{"a line too many does not match", "a", "a\nb", false},
		{"dots stand for no line", "a\n...\nb", "a\nb", true},
		{"dots stand for many lines", "a\n...\nz", "a\nb\nc\nz", true},
		{"dots do not hide a missing end", "...\nz", "a\nb", false},
		{"brackets stand for text in a line", "sha256:[...] ok", "sha256:12ab ok", true},
		{"other characters stand for themselves", "a.c", "abc", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := linesMatch(strings.Split(tc.want, "\n"), strings.Split(tc.got, "\n")); got != tc.match {
				t.Errorf("match %v, want %v", got, tc.match)
			}
		})
	}
}
