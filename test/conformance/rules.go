package conformance

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies"
)

// Compare asks gitgate's own rules of a case and lists how their answer differs from the API server's; nothing when it is the same.
// The API server stops at the first value of a wrong type and names it without indexes, so there the rules must name it too and
// may name more.
func Compare(rules *apiserver.Rules, c Case, want Answer) []string {
	var crds []*policies.Object
	for _, crd := range c.CRDs {
		crds = append(crds, object(crd))
	}
	return compare(rules, policies.NewSet(crds...), c, want)
}

func object(content map[string]any) *policies.Object {
	return policies.NewObject(clone(content).(map[string]any), policies.Origin{File: "case.yaml", Line: 1, Column: 1}, nil, nil)
}

func compare(rules *apiserver.Rules, set *policies.Set, c Case, want Answer) []string {
	now := object(c.Object)
	var old *policies.Object
	if c.Old != nil {
		old = object(c.Old)
	}
	a := rules.Admit(set, now, old)
	if a.Err != nil {
		if want.Status == Crashed {
			var panicked *apiserver.PanicError
			if errors.As(a.Err, &panicked) {
				return nil
			}
		}
		return []string{fmt.Sprintf("rules could not judge: %v; the API server says %s", a.Err, want.Status)}
	}
	switch {
	case want.Status == Unmerged:
		return nil
	case want.Status == Crashed:
		return []string{"the API server crashes; the rules do not tell"}
	case want.Status == "NotFound" && len(want.Causes) == 0:
		if a.Known && len(a.Violations) == 0 {
			return []string{"the API server does not serve the version; the rules take the object"}
		}
		return nil
	case !a.Known:
		return []string{"the rules do not know the kind; the API server says " + want.Status}
	case want.Status == Taken && allocated(c, a.Violations):
		return nil // no dry run allocates a port, and so none is refused
	case want.Status == Taken && len(a.Violations) > 0:
		return []string{"the API server takes the object; the rules refuse it: " + violations(a.Violations)}
	case want.Status == Taken:
		if old != nil {
			return nil
		}
		stored, err := rules.Stored(set, now)
		if err != nil {
			return []string{"stored form: " + err.Error()}
		}
		return lines("stored", Difference(c.Object, stored), want.Stored)
	case len(a.Violations) == 0:
		return []string{fmt.Sprintf("the rules take the object; the API server says %s: %s", want.Status, strings.Join(want.Causes, "; "))}
	}
	if want.Status == "InternalError" {
		return nil // server-side apply could not read a value, and says no more
	}
	return causes(c, a.Violations, want)
}

// allocation are the fields of a Service that its registry looks at before anything else, and then says no more.
var allocation = regexp.MustCompile(`^spec\.(clusterIPs?|ipFamil|healthCheckNodePort|ports\[\d+\]\.nodePort)`)

// allocated says that all violations are about ports that a Service's registry would allocate.
func allocated(c Case, vs []policies.Violation) bool {
	return c.Object["kind"] == "Service" && len(vs) > 0 && !slices.ContainsFunc(vs, func(v policies.Violation) bool {
		return v.Path == nil || v.Path[len(v.Path)-1] != "nodePort"
	})
}

// causes compares why an object is refused.
func causes(c Case, got []policies.Violation, want Answer) []string {
	stopped := c.Object["apiVersion"] == "v1" && c.Object["kind"] == "Service" && !slices.ContainsFunc(want.Causes, func(cause string) bool {
		_, field, _ := strings.Cut(cause, " ")
		return !allocation.MatchString(field)
	})
	var out []string
	matched := make([]bool, len(got))
	for _, cause := range want.Causes {
		reason, field, _ := strings.Cut(cause, " ")
		found := false
		for i, v := range got {
			// The rules tell one error of a field where the API server tells several: one of them has to be the same.
			if sameField(v.Path, field, reason) && slices.ContainsFunc(want.Causes, func(other string) bool {
				reason, of, _ := strings.Cut(other, " ")
				return of == field && (stopped || says(v.Rule, reason) || c.Old != nil && v.Rule == "type")
			}) {
				matched[i], found = true, true
			}
		}
		// Of custom resources the API server tells a wrong value more than once, without its place or with another spelling of it.
		again := reason == "FieldValueInvalid" && (field == "<nil>" || strings.HasPrefix(field, ".")) &&
			slices.ContainsFunc(got, func(v policies.Violation) bool { return v.Rule == "type" || v.Rule == "invalid" })
		if !found && !again {
			out = append(out, "only the API server: "+cause)
		}
	}
	if want.Status == "BadRequest" || stopped {
		return out // it goes no further than decoding, or than the addresses
	}
	for i := range got {
		if !matched[i] {
			out = append(out, "only the rules: "+violations(got[i:i+1]))
		}
	}
	if len(out) > 0 {
		out = append(out, "the API server: "+want.Status+" "+strings.Join(want.Causes, "; "), "the rules: "+violations(got))
	}
	return out
}

// sameField says whether a path of the rules, which is one of the version as written, is what the API server means by a field:
// that field, a place inside it, or, where the field is none of the written version's, the place that holds it.
func sameField(p policies.Path, field, reason string) bool {
	if reason == "Type" {
		return within(strings.Split(field, "."), p)
	}
	if field == "<nil>" {
		field = ""
	}
	if same(p, policies.ParsePath(field)) || field == "metadata.name" && p.String() == "metadata.generateName" {
		return true
	}
	for _, r := range renamed {
		rest, ok := strings.CutPrefix(field, r.server)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') && same(p, policies.ParsePath(r.written+rest)) {
			return true
		}
	}
	return false
}

// same says that p is what is meant, a place inside it, or the place that holds it. Names are compared without regard to case:
// validation writes JSONPath and initiatorname.
func same(p, meant policies.Path) bool {
	n := 0
	for n < len(p) && n < len(meant) && (strings.EqualFold(fmt.Sprint(p[n]), fmt.Sprint(meant[n])) || meant[n] == "*") {
		n++
	}
	return n == len(meant) || n == len(p) && n > 0
}

// renamed are fields that the API server's validation names otherwise than the version of the API that was sent.
var renamed = []struct{ server, written string }{
	{"metadata.taints", "spec.taints"},
	{"spec.conversion.webhookClientConfig", "spec.conversion.webhook.clientConfig"},
	{"spec.conversion.conversionReviewVersions", "spec.conversion.webhook.conversionReviewVersions"},
	{"spec.validation.openAPIV3Schema", "spec.versions[0].schema.openAPIV3Schema"},
	{"spec.version", "spec.versions[0].name"},
	{"spec.selectableFields", "spec.versions[0].selectableFields"},
	{"spec.additionalPrinterColumns", "spec.versions[0].additionalPrinterColumns"},
	{"spec.LoadBalancerSourceRanges", "spec.loadBalancerSourceRanges"},
	{"spec.attachedRequired", "spec.attachRequired"},
	{"spec.template.labels", "spec.template.metadata.labels"},
	{"spec.template.annotations", "spec.template.metadata.annotations"},
	{"spec.jobTemplate.spec.template.labels", "spec.jobTemplate.spec.template.metadata.labels"},
	{"spec.jobTemplate.spec.template.annotations", "spec.jobTemplate.spec.template.metadata.annotations"},
	{"template.labels", "template.metadata.labels"},
	{"template.annotations", "template.metadata.annotations"},
	{"spec.resources[storage]", "spec.resources.requests.storage"},
	{"spec.securityContext.shareProcessNamespace", "spec.shareProcessNamespace"},
	{"spec.metrics[0].resource.target.averageUtilization", "spec.targetCPUUtilizationPercentage"}, // autoscaling/v1
	{"nodeAffinity", "spec.nodeAffinity"},
	{"volumeMode", "spec.volumeMode"},
	{"namespace", "metadata.namespace"},
	{"involvedObject", "regarding"}, // events.k8s.io/v1 and below
	{"message", "note"},
	{"count", "deprecatedCount"},
	{"firstTimestamp", "deprecatedFirstTimestamp"},
	{"lastTimestamp", "deprecatedLastTimestamp"},
	{"reportingComponent", "reportingController"},
}

// within says that the names are steps of p in this order, or as many of them as lead to the end of p: the decoder names fields
// without the indexes and keys on the way, and with the Go names of embedded structs.
func within(names []string, p policies.Path) bool {
	last := false
	for _, step := range p {
		if _, index := step.(int); index {
			continue
		}
		for len(names) > 0 && step != names[0] && names[0] != "" && names[0][0] >= 'A' && names[0][0] <= 'Z' {
			names = names[1:]
		}
		last = len(names) > 0 && step == names[0]
		if last {
			names = names[1:]
		}
	}
	return len(names) == 0 || last
}

func violations(vs []policies.Violation) string {
	var out []string
	for _, v := range vs {
		out = append(out, fmt.Sprintf("%s [%s] %s", v.Path, v.Rule, v.Message))
	}
	return strings.Join(out, "; ")
}

// lines compares two lists of Difference lines.
func lines(what string, got, want []string) []string {
	var out []string
	for _, l := range want {
		if !slices.Contains(got, l) {
			out = append(out, what+": only the API server: "+l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			out = append(out, what+": only the rules: "+l)
		}
	}
	return out
}
