package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHowFarAUnitHasComeIsNotForgotten(t *testing.T) {
	c := func(n string) string { return strings.Repeat(n, 40) }
	history := []string{c("1"), c("2"), c("3")} // the oldest first
	order := func(commit string) (int, bool) {
		i := slices.Index(history, commit)
		return i, i >= 0
	}
	to := appliedTo{"fleet", "Kustomization", "flux-system", "apps"}
	state := t.TempDir()
	open := func() *headway {
		p, err := openHeadway(state, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	want := func(what string, said []string, newest string) {
		t.Helper()
		if got, ok := p.seen(to, said, order); got != newest || ok != (newest != "") {
			t.Errorf("%s: %q, want %q", what, got, newest)
		}
	}
	want("nothing was seen", nil, "")
	want("it is said", []string{c("1")}, c("1"))
	want("more is said", []string{c("2")}, c("2"))
	want("less is said", []string{c("1")}, c("2"))
	want("nothing is said", nil, c("2"))
	want("a commit is said that nobody knows yet", []string{c("4")}, c("2"))
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	p = open()
	want("another process, and less is said", []string{c("1")}, c("2"))
	history = append(history, c("4"))
	want("the commit that was said before is known", []string{c("1")}, c("4"))
	for _, n := range []string{"5", "6", "7", "8", "9", "a"} {
		want("much is said that is no commit here", []string{c(n)}, c("4"))
	}
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	p = open()
	want("another process again", nil, c("4"))
	if info, err := os.Stat(filepath.Join(state, "applied.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFileOfAppliedCommitsThatIsDamagedIsNotPassedOver(t *testing.T) {
	for name, text := range map[string]string{
		"an empty file":         "",
		"nothing":               "null",
		"two lists":             "[]\n[]",
		"more after the list":   "[]\x00\x00",
		"half a file":           `[{"Source":"fleet","Kind":"Kustomization","Na`,
		"another file":          `{"a":1}`,
		"what is no commit":     `[{"Source":"fleet","Kind":"","Namespace":"","Name":"","Commits":["main"]}]`,
		"more than is kept":     `[{"Source":"fleet","Kind":"","Namespace":"","Name":"","Commits":["` + strings.Join(slices.Repeat([]string{strings.Repeat("1", 40)}, 6), `","`) + `"]}]`,
		"a field nobody writes": `[{"Source":"fleet","Older":true}]`,
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			if err := os.WriteFile(filepath.Join(state, "applied.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openHeadway(state, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "applied commits") {
				t.Errorf("error %v", err)
			}
		})
	}
}
