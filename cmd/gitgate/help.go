package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// The columns of help: as many as the terminal has, between these, and the lesser where there is none.
const (
	narrowHelp = 80
	wideHelp   = 120
)

// fitHelp breaks what the commands below root say of themselves, and of their flags, into lines of a terminal's width; 0 is no terminal.
func fitHelp(root *cobra.Command, width int) {
	width = min(max(width, narrowHelp), wideHelp)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped "+strconv.Itoa(width)))
	var fit func(c *cobra.Command)
	fit = func(c *cobra.Command) {
		c.Long = fitted(c.Long, width)
		for _, sub := range c.Commands() {
			fit(sub)
		}
	}
	fit(root)
}

// fitted breaks paragraphs into lines of at most width characters. Lines that are indented stay as they are.
func fitted(text string, width int) string {
	var out, paragraph []string
	end := func() {
		if len(paragraph) > 0 {
			out, paragraph = append(out, wrapped(strings.Join(paragraph, " "), width)), nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			end()
			out = append(out, line)
		} else {
			paragraph = append(paragraph, line)
		}
	}
	end()
	return strings.Join(out, "\n")
}
