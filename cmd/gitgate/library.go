package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/library"
)

// shippedPolicies compiles the policies of the library that a name stands for, at the version of Kubernetes that l is for.
func shippedPolicies(ctx context.Context, l *loaded, name string) ([]*policies.Policy, error) {
	docs, err := library.Library{}.Select(name, l.Config.Kubernetes)
	if err != nil {
		return nil, err
	}
	return libraryPolicies(ctx, docs)
}

// listLibrary is gitgate policy list --library.
func (p *program) listLibrary(ctx context.Context, flags configFlags, format string) error {
	l, err := p.load(ctx, flags, nil)
	if err != nil {
		return err
	}
	all := []policyOutput{}
	for _, family := range library.Families() {
		if strings.Contains(family, "/") {
			continue // its policies are those of the family above it, too
		}
		shipped, err := shippedPolicies(ctx, l, family)
		if err != nil {
			return exitWith(exitUnjudged, fmt.Errorf("library: %w", err))
		}
		for _, policy := range shipped {
			all = append(all, l.describe(policy))
		}
	}
	slices.SortFunc(all, func(a, b policyOutput) int { return strings.Compare(a.Name, b.Name) })
	if format == "json" {
		return writeJSON(p.stdout, struct {
			Families []string       `json:"families"`
			Policies []policyOutput `json:"policies"`
		}{library.Families(), all})
	}
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSEVERITY\tACTION\tCONTROLS\tWHAT")
	for _, o := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Name, o.Severity, o.Action, strings.Join(o.Controls, ", "), firstSentence(o.Doc))
	}
	return w.Flush()
}

// unasked is the policy of that name that ships and that gitgate.yaml does not name; nil when there is none. The error is about a
// name that stands for several.
func (p *program) unasked(ctx context.Context, l *loaded, name string) (*policies.Policy, error) {
	shipped, err := shippedPolicies(ctx, l, name)
	switch {
	case err != nil:
		return nil, nil // no name of the library; the caller says which names there are
	case slices.Contains(library.Families(), name):
		var names []string
		for _, policy := range shipped {
			names = append(names, policy.Name)
		}
		return nil, usage("policy explain: %s is a family of the library: expected one of its policies, %s", name, strings.Join(names, ", "))
	default:
		return shipped[0], nil
	}
}
