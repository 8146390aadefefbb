package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestHelpFitsIntoEightyColumns(t *testing.T) {
	t.Parallel()
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.Name() != "completion" { // cobra's own
			_, said, _ := runIn(t, t.TempDir(), "", append(strings.Fields(c.CommandPath())[1:], "--help")...)
			if said == "" {
				t.Errorf("%s says nothing", c.CommandPath())
			}
			for line := range strings.SplitSeq(said, "\n") {
				if command := strings.HasPrefix(line, "  gitgate ") || strings.HasPrefix(line, "  kubectl "); utf8.RuneCountInString(line) > narrowHelp && !command {
					t.Errorf("%s --help: %d columns: %s", c.CommandPath(), utf8.RuneCountInString(line), line)
				}
			}
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look((&program{}).command())
}

func TestParagraphsAreBrokenAndExamplesAreNot(t *testing.T) {
	t.Parallel()
	got := fitted("one two\nthree four five\n\n  an example that is long\nsix", 14)
	if want := "one two three\nfour five\n\n  an example that is long\nsix"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
