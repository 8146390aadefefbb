package library

import (
	"strings"

	"gitgate.dev/gitgate/policies"
)

// The families of the Pod Security Standards.
const (
	podSecurity = "pod-security"
	baseline    = podSecurity + "/baseline"
	restricted  = podSecurity + "/restricted"
)

// overrides are the policies of baseline that one of restricted takes the place of, with the minor version from which on it
// does (k8s.io/pod-security-admission/policy, OverrideCheckIDs).
var overrides = map[string]int{
	baseline + "/host-path":    0,
	baseline + "/seccomp":      19,
	baseline + "/capabilities": 22,
	baseline + "/proc-mount":   35,
}

func overridden(policy string, minor int) bool {
	since, ok := overrides[policy]
	return ok && minor >= since
}

// insignificant says that c updates a Pod in nothing that the Pod Security Standards are asked about again: no container or
// image is new (k8s.io/pod-security-admission/admission, isSignificantPodUpdate). A Pod that was there before its namespace was
// restricted can then still be labelled and finalized.
func insignificant(c *policies.Change) bool {
	if c.Operation != policies.Update || c.Old == nil || c.Object == nil || c.Workload != nil || !c.Knows.Has(policies.KnowsOld) ||
		c.Object.Kind.GroupKind() != (policies.GroupKind{Kind: "Pod"}) {
		return false
	}
	now, before := c.Object.Settled(), c.Old.Settled()
	for _, field := range []string{"containers", "initContainers"} {
		a, b := containersOf(now, field), containersOf(before, field)
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if imageOf(a[i]) != imageOf(b[i]) {
				return false
			}
		}
	}
	known := map[any]any{}
	for _, container := range containersOf(before, "ephemeralContainers") {
		name, _ := policies.Lookup(container, policies.Path{"name"})
		if text, ok := name.(string); ok {
			known[text] = imageOf(container)
		}
	}
	for _, container := range containersOf(now, "ephemeralContainers") {
		name, _ := policies.Lookup(container, policies.Path{"name"})
		text, _ := name.(string)
		if image, ok := known[text]; !ok || image != imageOf(container) {
			return false
		}
	}
	return true
}

func containersOf(pod map[string]any, field string) []any {
	v, _ := policies.Lookup(pod, policies.Path{"spec", field})
	list, _ := v.([]any)
	return list
}

func imageOf(container any) string {
	v, _ := policies.Lookup(container, policies.Path{"image"})
	image, _ := v.(string)
	return image
}

func isPodSecurity(name string) bool { return strings.HasPrefix(name, podSecurity+"/") }
