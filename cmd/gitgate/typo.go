package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noArguments is the cobra.PositionalArgs of commands that take none. One that has subcommands was given a name that is none of them.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		return usage("%s: expected no argument, got %q%s", cmd.CommandPath(), args[0], seeHelp(cmd))
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	return usage("%s%s%s", message, didYouMean("", cmd, args[0]), seeHelp(cmd))
}

// flagError says what is wrong with a flag. A flag that comes behind an unknown command is none of the command's.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasAvailableSubCommands() && cmd.Flags().NArg() > 0 {
		return noArguments(cmd, cmd.Flags().Args())
	}
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		// cobra looks for names that are near among commands alone.
		flags := &cobra.Command{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		})
		return usage("%w%s%s", err, didYouMean("--", flags, unknown.GetSpecifiedName()), seeHelp(cmd))
	case errors.As(err, &invalid) && invalid.GetFlag().Value.Type() == "bool":
		return usage("--%s=%s: expected true or false", invalid.GetFlag().Name, invalid.GetValue())
	}
	return usage("%w%s", err, seeHelp(cmd))
}

// didYouMean names the one subcommand of parent that is nearest to name, or nothing.
func didYouMean(prefix string, parent *cobra.Command, name string) string {
	parent.SuggestionsMinimumDistance = 2
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		return fmt.Sprintf(": did you mean %s%s?", prefix, near[0])
	}
	return ""
}

func seeHelp(cmd *cobra.Command) string {
	return fmt.Sprintf("\ngitgate: see %s --help", cmd.CommandPath())
}
