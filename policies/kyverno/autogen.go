package kyverno

import (
	"slices"
	"strings"

	kubeutils "github.com/kyverno/kyverno/pkg/utils/kube"

	"gitgate.dev/gitgate/policies"
)

// autogenAnnotation names the controllers that rules for Pods are also made for.
const autogenAnnotation = "pod-policies.kyverno.io/autogen-controllers"

// controllers are the kinds that rules for Pods are also made for, with their group and version.
var controllers = map[string]string{
	"DaemonSet": "apps/v1/DaemonSet", "Deployment": "apps/v1/Deployment", "ReplicaSet": "apps/v1/ReplicaSet", "StatefulSet": "apps/v1/StatefulSet",
	"Job": "batch/v1/Job", "CronJob": "batch/v1/CronJob", "ReplicationController": "v1/ReplicationController",
}

// autogenKinds says which controllers the rules of a policy are also made for: none when one rule chooses objects by what a
// Pod has for itself (its name, labels, annotations) or mixes Pods with other kinds (Kyverno's pkg/autogen/v1).
func autogenKinds(rules []rule, annotations map[string]string) []string {
	needed := false
	for i := range rules {
		r := &rules[i]
		if r.Generate != nil || patchesJSON(r.Mutate) {
			return nil
		}
		blocks := []*matchBlock{&r.Match}
		if r.Exclude != nil {
			blocks = append(blocks, r.Exclude)
		}
		for _, b := range blocks {
			for _, f := range slices.Concat([]filter{b.filter}, b.Any, b.All) {
				d := &f.Resources
				if d.Name != "" || len(d.Names) > 0 || d.Selector != nil || d.Annotations != nil || len(d.Kinds) > 1 && kubeutils.ContainsKind(d.Kinds, "Pod") {
					return nil
				}
				needed = needed || slices.ContainsFunc(d.Kinds, func(k string) bool { return k == "Pod" || controllers[k] != "" })
			}
		}
	}
	if !needed {
		return nil
	}
	var kinds []string
	if chosen, ok := annotations[autogenAnnotation]; ok {
		for _, k := range strings.Split(chosen, ",") {
			if controllers[k] != "" {
				kinds = append(kinds, k)
			}
		}
	} else {
		for k := range controllers {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func patchesJSON(mutate any) bool {
	m, _ := mutate.(map[string]any)
	if s, _ := m["patchesJson6902"].(string); s != "" {
		return true
	}
	loops, _ := m["foreach"].([]any)
	return slices.ContainsFunc(loops, func(loop any) bool { return patchesJSON(loop) })
}

// autogen makes of a rule for Pods the rule for controllers, as document: raw is the rule's document, r what it decodes to. It
// returns nil when the rule is not for Pods. The names and texts are Kyverno's.
func autogen(raw map[string]any, r *rule, kinds []string, template policies.Path, prefix string) map[string]any {
	if strings.HasPrefix(r.Name, "autogen-") || len(kinds) == 0 || !kubeutils.ContainsKind(kindsOf(&r.Match), "Pod") {
		return nil
	}
	if r.Exclude != nil {
		if excluded := kindsOf(r.Exclude); len(excluded) > 0 && !kubeutils.ContainsKind(excluded, "Pod") {
			return nil
		}
	}
	out := copied(raw).(map[string]any)
	if out["name"] = prefix + "-" + r.Name; len(prefix)+1+len(r.Name) > 63 {
		out["name"] = (prefix + "-" + r.Name)[:63]
	}
	var names []any
	for _, k := range kinds {
		names = append(names, controllers[k])
	}
	all := len(kinds) == 1 && kinds[0] == "CronJob"
	rekind(out["match"], names, true, all)
	rekind(out["exclude"], names, false, all)
	validate := out["validate"].(map[string]any)
	wrap := func(p any) any {
		for i := len(template) - 1; i >= 0; i-- {
			p = map[string]any{template[i].(string): p}
		}
		return p
	}
	switch {
	case validate["pattern"] != nil:
		validate["pattern"] = wrap(validate["pattern"])
	case validate["deny"] != nil || validate["podSecurity"] != nil:
	case validate["anyPattern"] != nil:
		list := validate["anyPattern"].([]any)
		for i := range list {
			list[i] = wrap(list[i])
		}
	}
	replace := replacements(template)
	if isCEL(raw) {
		replace = celReplacements(template)
	}
	return moved(out, strings.NewReplacer(replace...)).(map[string]any)
}

// replacements moves the paths of a Pod into the template at a path.
func replacements(template policies.Path) []string {
	into := "." + template.String() + "."
	var out []string
	for _, object := range []string{"request.object", "request.oldObject"} {
		for _, part := range []string{"spec", "metadata"} {
			out = append(out, object+"."+part, object+into+part)
		}
	}
	return out
}

// moved replaces in every text of v, keys included.
func moved(v any, r *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return r.Replace(v)
	case []any:
		for i := range v {
			v[i] = moved(v[i], r)
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[r.Replace(k)] = moved(item, r)
		}
		return out
	default:
		return v
	}
}

func kindsOf(m *matchBlock) []string {
	kinds := slices.Clone(m.Resources.Kinds)
	for _, f := range slices.Concat(m.Any, m.All) {
		kinds = append(kinds, f.Resources.Kinds...)
	}
	return kinds
}

// rekind puts kinds in the place of Pod in a match block; with all in that of other kinds beside it too, as Kyverno does for CronJobs.
func rekind(block any, kinds []any, match, all bool) {
	m, _ := block.(map[string]any)
	if m == nil {
		return
	}
	for _, key := range []string{"any", "all"} {
		list, _ := m[key].([]any)
		for _, item := range list {
			f, _ := item.(map[string]any)
			if res, _ := f["resources"].(map[string]any); res != nil && (all || hasPod(res["kinds"])) {
				res["kinds"] = kinds
			}
		}
		if len(list) > 0 {
			return
		}
	}
	res, _ := m["resources"].(map[string]any)
	if res != nil && (match || hasPod(res["kinds"])) {
		res["kinds"] = kinds
	}
}

func hasPod(kinds any) bool {
	list, _ := kinds.([]any)
	return slices.ContainsFunc(list, func(k any) bool {
		s, _ := k.(string)
		return kubeutils.ContainsKind([]string{s}, "Pod")
	})
}
