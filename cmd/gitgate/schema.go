package main

import (
	"io"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
)

func (p *program) schemaCommand() *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of gitgate.yaml, or of the json report",
		Long: `Print the JSON Schema of gitgate.yaml, for editors and for other tools; with --of output that of "gitgate check -o json".

  gitgate schema > gitgate.schema.json
  # first line of gitgate.yaml:
  # yaml-language-server: $schema=gitgate.schema.json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			text := ""
			switch of {
			case "config":
				text = bundle.JSONSchema()
			case "output":
				text = string(report.JSONSchema())
			default:
				return usage("--of %s: expected config or output", of)
			}
			_, err := io.WriteString(p.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&of, "of", "config", "config (gitgate.yaml) or output (the json report)")
	return cmd
}
