package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
)

// policyOutput is one policy in `gitgate policy list -o json` and `gitgate policy explain -o json`.
type policyOutput struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Severity   string   `json:"severity,omitempty"`
	Action     string   `json:"action"`
	Where      string   `json:"where,omitempty"` // file:line; absent for a built-in policy
	Doc        string   `json:"doc,omitempty"`
	URL        string   `json:"url,omitempty"`
	Controls   []string `json:"controls,omitempty"`
	Rules      []string `json:"rules,omitempty"` // when they are known before judging
	Match      []string `json:"match"`           // "every kind", "Pod", "apps/v1 deployments" …
	Operations []string `json:"operations"`
	Needs      []string `json:"needs,omitempty"` // facts without which it is deferred
	Exemptions []string `json:"exemptions,omitempty"`
	Unasked    bool     `json:"unasked,omitempty"` // it ships, and gitgate.yaml does not name it
}

func (p *program) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "List, explain and test policies",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("policy: expected a subcommand: list, explain NAME, or test DIR")
		},
	}
	cmd.AddCommand(p.policyListCommand(), p.policyExplainCommand(), p.policyTestCommand())
	return cmd
}

func (p *program) policyListCommand() *cobra.Command {
	var flags configFlags
	var format string
	var shipped bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies: name, kind, severity, action, place",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return usage("-o %s: expected table or json", format)
			}
			if shipped {
				return p.listLibrary(cmd.Context(), flags, format)
			}
			l, err := p.load(cmd.Context(), flags, nil)
			if err != nil {
				return err
			}
			all := []policyOutput{}
			for _, policy := range l.policies() {
				all = append(all, l.describe(policy))
			}
			if format == "json" {
				return writeJSON(p.stdout, struct {
					Digest   string         `json:"digest"`
					Policies []policyOutput `json:"policies"`
				}{l.Digest, all})
			}
			w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tSEVERITY\tACTION\tWHERE\tWHAT")
			for _, o := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Name, o.Kind, orDash(o.Severity), o.Action, cmp.Or(o.Where, "built in"), orDash(firstSentence(o.Doc)))
			}
			return w.Flush()
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&shipped, "library", false, "list what ships with gitgate instead, with its controls")
	return cmd
}

func (p *program) policyExplainCommand() *cobra.Command {
	var flags configFlags
	var format string
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say what a policy asks for, of what, and where it is written",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("policy explain: expected the name of one policy, got %d arguments; gitgate policy list shows the names", len(args))
			}
			if format != "text" && format != "json" {
				return usage("-o %s: expected text or json", format)
			}
			l, err := p.load(cmd.Context(), flags, nil)
			if err != nil {
				return err
			}
			policy, err := find(l.policies(), args[0])
			unasked := false
			if err != nil {
				shipped, familyErr := p.unasked(cmd.Context(), l, args[0])
				switch {
				case familyErr != nil:
					return familyErr
				case shipped == nil:
					return err
				}
				policy, unasked = shipped, true
			}
			o := l.describe(policy)
			o.Unasked = unasked
			if format == "json" {
				return writeJSON(p.stdout, o)
			}
			return p.explain(o)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			quiet := &program{stdin: p.stdin, stdout: p.stdout, stderr: discard{}, env: p.env, dir: p.dir}
			if l, err := quiet.load(cmd.Context(), flags, nil); err == nil && len(args) == 0 {
				for _, policy := range l.policies() {
					names = append(names, policy.Name)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (default: gitgate.yaml, from here up to the Git root)")
	cmd.Flags().StringVar(&f.kubernetes, "kubernetes-version", "", "version of Kubernetes, instead of what the configuration says")
}

// find returns the policy of that name, or the one that has the rule policy/rule, as findings name them.
func find(all []*policies.Policy, name string) (*policies.Policy, error) {
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	for _, p := range all {
		if rule, ok := strings.CutPrefix(name, p.Name+"/"); ok && (len(p.Rules) == 0 || slices.Contains(p.Rules, rule)) {
			return p, nil
		}
	}
	return nil, usage("policy %s does not exist: the names are %s", name, strings.Join(names, ", "))
}

func (l *loaded) describe(p *policies.Policy) policyOutput {
	o := policyOutput{
		Name: p.Name, Kind: p.Kind, Severity: string(p.Severity), Action: p.Action.String(), Where: l.place(p.Origin),
		Doc: p.Doc, URL: p.URL, Controls: p.Controls, Rules: p.Rules, Match: matchOf(&p.Match), Needs: p.Needs.Names(),
	}
	if len(p.Match.Operations) == 0 {
		o.Operations = []string{string(policies.Create), string(policies.Update)}
	}
	for _, op := range p.Match.Operations {
		o.Operations = append(o.Operations, string(op))
	}
	for _, x := range l.Config.Exempt {
		if slices.Contains(x.Policies, p.Name) {
			o.Exemptions = append(o.Exemptions, x.Reason)
		}
	}
	return o
}

func matchOf(m *policies.Match) []string {
	if len(m.Kinds)+len(m.Resources) == 0 {
		return []string{"every kind"}
	}
	out := []string{}
	for _, k := range m.Kinds {
		name := policies.GroupKind{Group: k.Group, Kind: k.Kind}.String()
		switch {
		case k.Kind == "*" && k.Group == "*":
			name = "every kind"
		case k.Group == "*":
			name = k.Kind
		}
		if k.Version != "" && k.Version != "*" {
			name += " in " + k.Version
		}
		if k.Subresource != "" {
			name += "/" + k.Subresource
		}
		out = append(out, name)
	}
	for _, r := range m.Resources {
		for _, name := range r.Resources {
			for _, g := range r.Groups {
				resource := name
				if g != "" {
					resource += "." + g
				}
				if !slices.Contains(r.Versions, "*") {
					resource += " in " + strings.Join(r.Versions, ", ")
				}
				out = append(out, resource)
			}
		}
	}
	return out
}

func (p *program) explain(o policyOutput) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", o.Name)
	if o.Doc != "" {
		fmt.Fprintf(&b, "\n  %s\n", strings.ReplaceAll(wrapped(o.Doc, 100), "\n", "\n  "))
	}
	b.WriteByte('\n')
	row := func(name string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, text)
		}
	}
	row("kind", o.Kind)
	row("action", o.Action)
	row("severity", o.Severity)
	row("asked of", o.Match...)
	row("operations", o.Operations...)
	row("needs", o.Needs...)
	row("rules", o.Rules...)
	row("controls", o.Controls...)
	row("exempted", o.Exemptions...)
	row("more", o.URL)
	row("written at", cmp.Or(o.Where, "built in"))
	if o.Unasked {
		row("asked here", "no: gitgate.yaml names it under policies[].library when it is to be")
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

// wrapped breaks the lines of s between words so that they have at most width characters.
func wrapped(s string, width int) string {
	var lines []string
	for _, paragraph := range strings.Split(strings.TrimSpace(s), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				lines, line = append(lines, line), ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func orDash(s string) string { return cmp.Or(s, "-") }

// firstSentence is the start of a text, short enough for a table.
func firstSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if i := strings.Index(s, ". "); i > 0 {
		s = s[:i]
	}
	s = strings.TrimSuffix(s, ".")
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:79]) + "…"
	}
	return s
}
