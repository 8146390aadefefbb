package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies/bundle"
)

// engines are the modules that decide verdicts, in the order in which they are shown.
var engines = []struct{ name, module string }{
	{"Kubernetes API server", "k8s.io/kubernetes"},
	{"Kubernetes CEL", "k8s.io/apiserver"},
	{"CEL", "github.com/google/cel-go"},
	{"OPA", "github.com/open-policy-agent/opa"},
	{"JSON Schema", "github.com/santhosh-tekuri/jsonschema/v6"},
}

// versionOutput is `gitgate version -o json`.
type versionOutput struct {
	Version    string            `json:"version"`
	Commit     string            `json:"commit,omitempty"`
	Date       string            `json:"date,omitempty"` // of the commit
	Modified   bool              `json:"modified,omitempty"`
	Go         string            `json:"go"`
	Platform   string            `json:"platform"`
	Kubernetes []string          `json:"kubernetes"` // versions whose manifests it judges
	Engines    map[string]string `json:"engines"`    // module path to version
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func readVersion() versionOutput {
	v := versionOutput{
		Version: buildVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Kubernetes: bundle.Versions(), Engines: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		for _, e := range engines {
			if m.Path == e.module {
				v.Engines[m.Path] = m.Version
			}
		}
	}
	return v
}

func (p *program) versionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is, and what it judges with",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			switch format {
			case "json":
				return writeJSON(p.stdout, v)
			case "text":
				return v.write(p.stdout)
			default:
				return usage("-o %s: expected text or json", format)
			}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func (v versionOutput) write(w io.Writer) error {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-22s %s\n", name, value) }
	row("gitgate", v.Version)
	if v.Commit != "" {
		modified := ""
		if v.Modified {
			modified = ", modified"
		}
		row("commit", fmt.Sprintf("%s (%s%s)", v.Commit, v.Date, modified))
	}
	row("go", v.Go+" "+v.Platform)
	row("kubernetes versions", strings.Join(v.Kubernetes, ", "))
	for _, e := range engines {
		if version, ok := v.Engines[e.module]; ok {
			row(e.name, e.module+" "+version)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
