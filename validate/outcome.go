package validate

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func skipped(name, reason string) outcome { return outcome{skipped: &Skipped{name, reason}} }

// malformed is the decision on a document that gives no object, or not the one that is meant.
func malformed(p manifest.Problem) outcome {
	r := policies.Result{Policy: manifestPolicy, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{p}}}
	if p.Rule == manifest.RuleUnreadable {
		r = policies.Result{Policy: manifestPolicy, Outcome: policies.Failed, Err: policies.ErrorAt(p.Pos, fmt.Errorf("%s", p.Message))}
	}
	origin := policies.Origin{File: p.Pos.File, Line: p.Pos.Line, Column: p.Pos.Column}
	return outcome{decision: policies.Decision{
		Subject: policies.ObjectRef{Origin: origin, Text: p.Pos.File}, Operation: policies.Create, Results: []policies.Result{r},
	}}
}

// unreadable is the decision on a file of which nothing is known.
func unreadable(name string, err error) outcome {
	return malformed(manifest.Problem{
		Rule: manifest.RuleUnreadable, Message: fmt.Sprintf("file cannot be read: %v", err), Pos: policies.Position{File: name},
	})
}

// duplicate is the result of an object whose identity the object at first has already.
func duplicate(o *policies.Object, file string, line int) policies.Result {
	path := policies.Path{"metadata", "name"}
	return policies.Result{Policy: manifestPolicy, Outcome: policies.Violated, Finding: policies.Finding{Violations: []policies.Violation{{
		Rule:    RuleDuplicateObject,
		Message: fmt.Sprintf("%s is declared twice, first at %s:%d; expected once, for the last one applied would win", o, file, line),
		Path:    path,
		Pos:     o.Locate(path, policies.AtValue),
		Fix:     "remove one of the two, or give them different names",
	}}}}
}

// identities remembers which objects were seen and where, in little memory: an identity is kept as two hashes of it.
type identities struct {
	one, two maphash.Seed
	seen     map[[2]uint64]seenAt
}

type seenAt struct{ file, line uint32 }

func newIdentities() *identities {
	return &identities{one: maphash.MakeSeed(), two: maphash.MakeSeed(), seen: map[[2]uint64]seenAt{}}
}

// add notes o of a file and says where its identity was seen before. An object without a name (generateName) is never another.
func (s *identities) add(file int, o *policies.Object, namespace string) (first seenAt, doubled bool) {
	if o.Name == "" {
		return seenAt{}, false
	}
	text := strings.Join([]string{o.Kind.Group, o.Kind.Kind, namespace, o.Name}, "\x00")
	key := [2]uint64{maphash.String(s.one, text), maphash.String(s.two, text)}
	first, doubled = s.seen[key]
	if !doubled {
		s.seen[key] = seenAt{uint32(file), uint32(o.Origin.Line)}
	}
	return first, doubled
}

// notForCluster says why an object is not one that is sent to the API server; "" when it is.
func notForCluster(kind policies.GroupVersionKind) string {
	switch kind.Group {
	case "kustomize.config.k8s.io":
		return "kustomization: check what it builds: kustomize build . | gitgate check -"
	case "gitgate.dev":
		return "gitgate's own configuration"
	}
	return ""
}

// hiddenReason is why a hidden file is not judged.
const hiddenReason = "hidden, and it holds no object"

// foreignProblem says whether a problem is one that files of other tools have. One of bounds, of encoding or of a key that is
// written twice is none: others may read an object there.
func foreignProblem(p *manifest.Problem) bool {
	return p != nil && (p.Rule == manifest.RuleNotManifest || p.Rule == manifest.RuleSyntax)
}

// otherFile says what a file found in a folder is, when its name says so and none of its documents is a Kubernetes object; ""
// when it is to be judged. A file that holds an object is judged whatever it is called.
func otherFile(f file, text []byte, found []finding) string {
	if f.hidden {
		speaks := bytes.Contains(text, []byte("apiVersion")) // of Kubernetes, so that an error of syntax is to be told
		if !slices.ContainsFunc(found, func(it finding) bool {
			return !foreignProblem(it.problem) || speaks && it.problem.Rule == manifest.RuleSyntax
		}) {
			return hiddenReason
		}
	}
	for _, it := range found {
		if f.given || it.object != nil || it.problem.Rule != manifest.RuleNotManifest {
			return ""
		}
	}
	base := strings.ToLower(f.name[strings.LastIndexByte(f.name, '/')+1:])
	stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml"), ".json")
	switch {
	case stem == "kustomization":
		return "kustomization: check what it builds: kustomize build . | gitgate check -"
	case stem == "chart", stem == "values", strings.HasPrefix(stem, "values-"), strings.HasSuffix(stem, "-values"), strings.HasSuffix(stem, ".values"), strings.HasPrefix(stem, "values."):
		return "Helm chart or values: check what the chart renders: helm template . | gitgate check -"
	case stem == "compose", stem == "docker-compose":
		return "Docker Compose file"
	case stem == "package", stem == "package-lock", stem == "tsconfig", stem == "renovate":
		return "configuration of another tool"
	}
	return ""
}
