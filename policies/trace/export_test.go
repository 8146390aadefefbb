package trace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Duties is the table of what each identity does without configuration, as docs/trace.md has it.
func Duties() string {
	byUser := map[string][]duty{"system:node:NAME": kubelet()}
	for user, does := range controllers() {
		byUser[user] = does
	}
	byUser["system:kube-controller-manager"] = managerItself()
	byUser["system:kube-scheduler"], byUser["system:apiserver"] = scheduler(), apiServer()
	for _, sort := range []Sort{Flux, ArgoCD} {
		for account, does := range controllersOf(sort) {
			byUser[string(sort)+" "+account] = does
		}
	}
	var b strings.Builder
	b.WriteString("| who | what | operations | what for |\n|---|---|---|---|\n")
	for _, user := range slices.SortedFunc(maps.Keys(byUser), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	}) {
		for _, d := range byUser[user] {
			var ops []string
			for _, op := range d.operations {
				ops = append(ops, strings.ToLower(string(op)))
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", user, strings.Join(d.resources, "` `"), strings.Join(ops, ", "), d.does)
		}
	}
	return b.String()
}

func rank(user string) int {
	switch {
	case strings.HasPrefix(user, string(Flux)), strings.HasPrefix(user, string(ArgoCD)):
		return 2
	case strings.Contains(user, ":"):
		return 1
	}
	return 0
}

// SubresourceTable is the table of subresources, as docs/trace.md has it.
func SubresourceTable() string {
	var b strings.Builder
	b.WriteString("| subresource | without configuration |\n|---|---|\n")
	for _, s := range Subresources() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.Name, s.Rule)
	}
	return b.String()
}

// Matches and Covers are what patterns of the configuration mean.
func Matches(pattern, s string, separator byte) bool { return matches(pattern, s, separator) }

func Covers(pattern string, p policies.Path) bool {
	f, err := parseField(pattern)
	if err != nil {
		return false
	}
	var steps []string
	for _, step := range p {
		steps = append(steps, fmt.Sprint(step))
	}
	return f.covers(steps)
}
