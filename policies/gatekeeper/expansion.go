package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policies"
)

// expansion is an ExpansionTemplate: how an object that generates others looks to policies that are written for those (gatekeeper
// pkg/expansion).
type expansion struct {
	name     string
	applyTo  []applyTo
	source   policies.Path
	generate policies.GroupVersionKind
}

type applyTo struct {
	Groups   []string `json:"groups"`
	Kinds    []string `json:"kinds"`
	Versions []string `json:"versions"`
}

type expansionDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   any    `json:"metadata"`
	Status     any    `json:"status"`
	Spec       struct {
		ApplyTo        []applyTo `json:"applyTo"`
		TemplateSource string    `json:"templateSource"`
		GeneratedGVK   struct {
			Group   string `json:"group"`
			Version string `json:"version"`
			Kind    string `json:"kind"`
		} `json:"generatedGVK"`
		EnforcementAction string `json:"enforcementAction"`
	} `json:"spec"`
}

const expansionGroup = "expansion.gatekeeper.sh"

// maxExpansions bounds how often what is generated may generate.
const maxExpansions = 30

func newExpansion(o *policies.Object) (*expansion, []error) {
	if o.Kind.Group != expansionGroup || o.Kind.Kind != "ExpansionTemplate" {
		return nil, []error{errorAt(o, policies.Path{"kind"}, policies.AtValue, fmt.Errorf("%s is no expansion: expected an ExpansionTemplate", o))}
	}
	var d expansionDocument
	if errs := decode(o, nil, o.Map(), &d); len(errs) > 0 {
		return nil, errs
	}
	e := &expansion{name: o.Name, applyTo: d.Spec.ApplyTo, generate: policies.GroupVersionKind(d.Spec.GeneratedGVK)}
	for _, step := range strings.Split(d.Spec.TemplateSource, ".") {
		e.source = append(e.source, step)
	}
	var errs []error
	fail := func(path policies.Path, text string) {
		errs = append(errs, errorAt(o, path, policies.AtKey, errors.New(text)))
	}
	at := policies.Path{"spec"}
	switch {
	case o.Name == "":
		fail(policies.Path{"metadata"}, "ExpansionTemplate has no name")
	case len(o.Name) > maxName:
		fail(policies.Path{"metadata", "name"}, fmt.Sprintf("name of an ExpansionTemplate is longer than %d characters", maxName))
	}
	if d.Spec.TemplateSource == "" {
		fail(at, "ExpansionTemplate has no spec.templateSource: expected the field that it takes, as in spec.template")
	}
	if e.generate == (policies.GroupVersionKind{}) {
		fail(at, "ExpansionTemplate has no spec.generatedGVK: expected the kind that it makes")
	}
	if len(e.applyTo) == 0 {
		fail(at, "ExpansionTemplate has no spec.applyTo: expected the kinds that it expands")
	}
	if e.applies(e.generate) {
		fail(at.Append("generatedGVK"), "ExpansionTemplate makes what it expands")
	}
	return e, errs
}

func (e *expansion) applies(kind policies.GroupVersionKind) bool {
	return slices.ContainsFunc(e.applyTo, func(a applyTo) bool {
		return slices.Contains(a.Groups, kind.Group) && slices.Contains(a.Versions, kind.Version) && slices.Contains(a.Kinds, kind.Kind)
	})
}

// generated is what an object generates, and the name of the template that says so.
type generated struct {
	object *policies.Object
	by     string
}

// expand returns what o generates, what that generates first.
func (t *Trial) expand(o *policies.Object, depth int) (out []generated, err error) {
	if depth >= maxExpansions {
		return nil, fmt.Errorf("%s generates objects that generate others, more than %d times", o, maxExpansions)
	}
	var own []generated
	for _, e := range t.expansions {
		if !e.applies(o.Kind) {
			continue
		}
		made, err := e.make(o)
		if err != nil {
			return nil, err
		}
		more, err := t.expand(made, depth+1)
		if err != nil {
			return nil, err
		}
		own, out = append(own, generated{made, e.name}), append(out, more...)
	}
	return append(out, own...), nil
}

// make is the object that o generates: its part at the template's source, in o's namespace, owned by o.
func (e *expansion) make(o *policies.Object) (*policies.Object, error) {
	v, _ := policies.Lookup(o.Map(), e.source)
	source, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s has no map at %s, from which ExpansionTemplate %s takes what it generates", o, e.source, e.name)
	}
	content := runtime.DeepCopyJSON(source)
	content["apiVersion"], content["kind"] = e.generate.APIVersion(), e.generate.Kind
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	delete(metadata, "namespace")
	if o.Namespace != "" {
		metadata["namespace"] = o.Namespace
	}
	metadata["name"] = strings.ToLower(o.Name + "-" + e.generate.Kind)
	if o.Name != "" {
		owners, _ := metadata["ownerReferences"].([]any)
		metadata["ownerReferences"] = append(owners, map[string]any{"apiVersion": o.Kind.APIVersion(), "kind": o.Kind.Kind, "name": o.Name, "uid": ""})
	}
	content["metadata"] = metadata
	return policies.NewObject(content, o.Origin, nil, nil), nil
}
