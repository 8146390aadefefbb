package trace

import (
	"context"
	"fmt"
	"slices"

	"gitgate.dev/gitgate/policies"
)

// aggregated admits rules of a role that aggregates others when each was there, or is one of a live role that its selectors choose. The
// controller that fills them in may escalate: whose token it is would otherwise give everybody who has such a role everything.
func aggregated(ctx context.Context, r *review) ([]policies.Violation, error) {
	selectors, _ := policies.Lookup(r.c.Object.Map(), policies.Path{"aggregationRule", "clusterRoleSelectors"})
	if empty(selectors) {
		return because("%s aggregates no other roles", r.name()), nil
	}
	was := asList(r.c.Old.Map()["rules"])
	var added []any
	for _, rule := range asList(r.c.Object.Map()["rules"]) {
		if !holds(was, rule) {
			added = append(added, rule)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	roles, err := r.j.Owners.List(ctx, policies.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"})
	if err != nil {
		return nil, fmt.Errorf("roles that %s aggregates: could not be looked up: %w", r.name(), err)
	}
	var theirs []any
	for _, role := range roles {
		labels := lookup(role.Map(), "metadata", "labels")
		if role.Name != r.key.Name && slices.ContainsFunc(asList(selectors), func(s any) bool { return selects(asMap(s), labels) }) {
			theirs = append(theirs, asList(role.Map()["rules"])...)
		}
	}
	var out []policies.Violation
	for _, rule := range added {
		if !holds(theirs, rule) {
			out = append(out, because("rules: %s gets %s, which no role has that it aggregates", r.name(), r.value(policies.Path{"rules"}, rule, "a rule"))...)
		}
	}
	return out, nil
}

func holds(list []any, item any) bool {
	return slices.ContainsFunc(list, func(x any) bool { return Equal(x, item) })
}

// selects says whether a label selector (k8s.io/apimachinery, metav1.LabelSelector) chooses labels. What it does not know chooses nothing.
func selects(selector, labels map[string]any) bool {
	for key, want := range asMap(selector["matchLabels"]) {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	for _, e := range asList(selector["matchExpressions"]) {
		m := asMap(e)
		key, _ := m["key"].(string)
		got, has := labels[key]
		among := has && contains(asList(m["values"]), got)
		switch m["operator"] {
		case "In":
			if !among {
				return false
			}
		case "NotIn":
			if among {
				return false
			}
		case "Exists":
			if !has {
				return false
			}
		case "DoesNotExist":
			if has {
				return false
			}
		default:
			return false
		}
	}
	return true
}
