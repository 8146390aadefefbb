package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/report"
)

// diffOutput is `gitgate diff -o json`.
type diffOutput struct {
	Base     string       `json:"base"`
	Head     string       `json:"head"`
	Changes  []diffChange `json:"changes"` // in the order in which reconcilers send them
	Problems []string     `json:"problems"`
	Opaque   []string     `json:"opaque"` // what cannot be told from Git alone
}

type diffChange struct {
	Action     string      `json:"action"` // create, update, delete, keep
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Namespace  string      `json:"namespace,omitempty"`
	Name       string      `json:"name"`
	Unit       string      `json:"unit"`
	By         string      `json:"by,omitempty"` // user name of the reconciler
	File       string      `json:"file,omitempty"`
	Line       int         `json:"line,omitempty"`
	Reason     string      `json:"reason,omitempty"` // why an object that is no longer declared stays
	Fields     []diffField `json:"fields,omitempty"`
}

type diffField struct {
	Path string `json:"path"`
	Old  any    `json:"old,omitempty"`
	New  any    `json:"new,omitempty"`
	File string `json:"file,omitempty"` // where the new value is written
	Line int    `json:"line,omitempty"`
}

func (p *program) diffCommand() *cobra.Command {
	var f baseFlags
	var config configFlags
	var format string
	cmd := &cobra.Command{
		Use:   "diff --base REV [--head REV]",
		Short: "Show what a merge would change in the cluster: objects and fields",
		Long: strings.TrimSpace(`
Renders what the sources of gitgate.yaml declare at the merge base and at --head (default HEAD), as their reconcilers would, and shows what merging
would create, update and delete, in the order in which it is sent. Defaults of the API server are part of it. Values of Secrets are not shown.

Exit codes: 0 it could be told; 1 something that is declared cannot be rendered; 2 flags or configuration; 3 could not tell.`),
		Example: "  gitgate diff --base origin/main\n  gitgate diff --base v1.4 --head v1.5 -o json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.base == "":
				return usage("diff: needs --base, the commit before the change")
			case format != "text" && format != "json":
				return usage("-o %s: expected text or json", format)
			}
			return p.diff(cmd.Context(), f, config, format)
		},
	}
	config.add(cmd)
	cmd.Flags().StringVar(&f.base, "base", "", "the commit before the change")
	cmd.Flags().StringVar(&f.head, "head", "", "the commit with the change (default HEAD)")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "fetch no source that lies in another repository: read what an earlier run fetched")
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func (p *program) diff(ctx context.Context, f baseFlags, config configFlags, format string) error {
	_, base, head, err := p.endpoints(ctx, f)
	if err != nil {
		return err
	}
	l, err := p.loadAt(ctx, config, head)
	if err != nil {
		return err
	}
	listed, err := p.listedAt(ctx, config, base)
	if err != nil {
		return err
	}
	r, err := p.openRevisions(ctx, l.Config, l.rules, otherSources{offline: f.offline, listed: listed})
	if err != nil {
		return err
	}
	defer r.close()
	_, after, changes, err := r.changes(ctx, base, head)
	if err != nil {
		return err
	}
	out := diffOutput{Base: string(base), Head: string(head), Changes: []diffChange{}, Problems: []string{}, Opaque: []string{}}
	for _, c := range changes {
		out.Changes = append(out.Changes, describeChange(c))
	}
	for _, v := range after.Problems() {
		out.Problems = append(out.Problems, policies.ErrorAt(v.Pos, fmt.Errorf("%s", v.Message)).Error())
	}
	out.Opaque = append(out.Opaque, opaque(after)...)
	if format == "json" {
		err = writeJSON(p.stdout, out)
	} else {
		err = p.writeDiff(out)
	}
	if err == nil && len(out.Problems) > 0 {
		return exitWith(exitDenied, nil)
	}
	return err
}

func describeChange(c *desired.Change) diffChange {
	o := c.Subject()
	out := diffChange{
		Action: strings.ToLower(string(c.Operation)), APIVersion: o.Kind.APIVersion(), Kind: o.Kind.Kind, Name: o.Name, Unit: c.Unit.String(),
		File: o.Origin.File, Line: o.Origin.Line, Reason: c.Kept,
	}
	if c.Namespaced {
		out.Namespace = c.Namespace
	}
	if c.Actor != nil {
		out.By = c.Actor.User
	}
	if c.Kept != "" {
		out.Action = "keep"
	}
	secret := o.Kind.GroupKind() == policies.GroupKind{Kind: "Secret"}
	for _, f := range c.Fields {
		field := diffField{Path: f.Path.String(), Old: f.Old, New: f.New}
		if secret && hidden(f.Path) {
			field.Old, field.New = maskedUnlessAbsent(f.HadOld), maskedUnlessAbsent(f.HasNew)
		}
		if f.HasNew {
			pos := c.Object.Locate(f.Path, policies.AtValue)
			field.File, field.Line = pos.File, pos.Line
		}
		out.Fields = append(out.Fields, field)
	}
	return out
}

// masked stands for a value that is not shown.
const masked = "(not shown)"

// hidden says whether the field of a Secret may hold, or repeat, what is secret.
func hidden(p policies.Path) bool {
	if len(p) == 0 {
		return true
	}
	switch p[0] {
	case "kind", "apiVersion", "type", "immutable":
		return false
	case "metadata":
		return len(p) > 1 && p[1] == "annotations" // kubectl keeps the whole manifest in one
	default:
		return true
	}
}

func maskedUnlessAbsent(has bool) any {
	if has {
		return masked
	}
	return nil
}

func (p *program) writeDiff(out diffOutput) error {
	counts := map[string]int{}
	for _, c := range out.Changes {
		counts[c.Action]++
		name := c.Name
		if c.Namespace != "" {
			name = c.Namespace + "/" + name
		}
		where := ""
		if c.File != "" {
			where = fmt.Sprintf("  %s:%d", report.Line(c.File), max(c.Line, 1))
		}
		sign := map[string]string{"create": "+", "update": "~", "delete": "-", "keep": "="}[c.Action]
		fmt.Fprintf(p.stdout, "%s %s %s  (%s)%s\n", sign, report.Line(c.Kind), report.Line(name), report.Line(c.Unit), where)
		if c.Reason != "" {
			fmt.Fprintf(p.stdout, "    stays: %s\n", report.Line(c.Reason))
		}
		for _, f := range c.Fields {
			at := ""
			if f.File != "" && f.Line > 0 {
				at = fmt.Sprintf("  %s:%d", report.Line(f.File), f.Line)
			}
			fmt.Fprintf(p.stdout, "    %s: %s -> %s%s\n", report.Line(f.Path), shownValue(f.Old), shownValue(f.New), at)
		}
	}
	for _, text := range out.Problems {
		fmt.Fprintf(p.stdout, "! %s\n", report.Line(text))
	}
	for _, text := range out.Opaque {
		fmt.Fprintf(p.stdout, "? %s\n", report.Line(text))
	}
	_, err := fmt.Fprintf(p.stderr, "from %.10s to %.10s: %d to create, %d to update, %d to delete, %d no longer declared that stay\n",
		out.Base, out.Head, counts["create"], counts["update"], counts["delete"], counts["keep"])
	return err
}

// maxShown bounds how much of a value stands on a line.
const maxShown = 120

// shownValue is a value on one line; "(none)" for none.
func shownValue(v any) string {
	if v == nil {
		return "(none)"
	}
	if s, ok := v.(string); ok && s == masked {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "(unreadable)"
	}
	s := report.Line(string(text))
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}
