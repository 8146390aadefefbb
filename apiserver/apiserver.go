// Package apiserver is what the Kubernetes API server itself does to an object before it stores it: strict decoding, defaults,
// validation, and the fields that it drops or fills in. It runs the API server's own code for the built-in kinds
// (k8s.io/kubernetes: scheme, registry strategies, validation), which is unsupported as a library, so this is the only package
// that imports it. It must not know of policies, doors, configuration, files or a cluster: the same object gets the same answer
// everywhere, and what only a running server can know (an allocated address, an admission plugin that looks at other objects)
// is named in one table, serverAssigned.
//
// # A built-in kind is created
//
// The decoder (plan.go, decode.go) goes from the manifest's map straight into the Go type of its version, as strictly as
// fieldValidation=Strict and without stopping at the first error. Then the server's code runs as it does in a request: defaults,
// conversion to the internal type, the admission plugins that look at the object alone (builtin_plugins.go), and the registry
// strategy of the kind: PrepareForCreate, Validate, WarningsOnCreate, Canonicalize. All errors are told, on the fields of the
// version as written (builtin_paths.go), in our words with the server's details (builtin_words.go). When a field is unknown the
// real server says no more than that; here the rest is judged too, as if the field were not there.
//
// Stored goes the way of storage: into the version that is stored, without empty lists and maps for what is stored as protobuf,
// defaulted anew, and back. It does not depend on the time, on chance, or on who asks.
//
// # A built-in kind is updated
//
// With an old object Admit is the server's answer on applying the new one over it. An old object with a uid is a live one: what
// the server assigned stays where the new one is silent. One without a uid is the manifest that the new one takes the place of:
// it is created first and gets what controllers soon give (a claim is bound, a CRD established); what it wrote and the new one
// does not goes away. An old manifest that could not have been created counts as none. Defaults are taken from the new manifest,
// but for those of the old one that every way of applying keeps and that decide: the pull policy of a Pod, and the rollingUpdate of
// a Deployment or StatefulSet that turns to another strategy, which is refused for it.
//
// # Other versions and other kinds
//
// A version of a group that Kubernetes dropped is a violation that names its successor; one that is off by default is a warning.
// For a version of Kubernetes other than Native the form of its kinds (package openapi) is asked as well. Custom resources are
// judged by the CRDs of the change set (crd.go).
package apiserver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// Native is the version of Kubernetes whose code is compiled in.
const Native = "1.36"

// Versions lists the versions of Kubernetes that New takes, oldest first.
func Versions() []string { return []string{"1.34", "1.35", "1.36", "1.37"} }

// Rules are the rules of the API server of one version of Kubernetes. Immutable and safe for concurrent use.
type Rules struct {
	version string
	minor   int
}

// New returns the rules of a version such as "1.36" (see Versions); "" means Native.
func New(version string) (*Rules, error) {
	if version == "" {
		version = Native
	}
	for _, known := range Versions() {
		if known == strings.TrimPrefix(version, "v") {
			minor, err := strconv.Atoi(strings.TrimPrefix(known, "1."))
			if err != nil {
				return nil, fmt.Errorf("kubernetes version %q: %w", version, err)
			}
			return &Rules{version: known, minor: minor}, nil
		}
	}
	return nil, fmt.Errorf("kubernetes version %q: expected one of %s", version, strings.Join(Versions(), ", "))
}

// Version is the version of Kubernetes, such as "1.36".
func (r *Rules) Version() string { return r.version }

// Admission is the API server's answer on one object.
type Admission struct {
	// Violations are why the API server refuses the object; none when it takes it. Their Rule is one of Rule*.
	Violations []policies.Violation
	// Warnings are what the API server takes with a word, and what is known and not served by default. Warning is set on each.
	Warnings []policies.Violation
	// Known says that the kind is one that the API server or a CRD of the set defines, so that Violations is its answer.
	Known bool
	// Err says why there is no answer. Violations is not complete then.
	Err error
}

// The ids of rules that violations of an Admission carry.
const (
	ruleUnknownField = "unknown-field"
	ruleType         = "type"
	ruleRequired     = "required"
	ruleInvalid      = "invalid"
	ruleDuplicate    = "duplicate"
	ruleUnsupported  = "not-supported-value"
	ruleForbidden    = "forbidden"
	ruleImmutable    = "immutable"
	ruleTooLong      = "too-long"
	ruleTooMany      = "too-many"
	ruleNotFound     = "not-found"
	ruleRemovedAPI   = "removed-api"
	ruleNotServed    = "not-served"
	ruleDeprecated   = "deprecated"
	ruleWarning      = "warning"
	ruleNotStored    = "not-stored"
	ruleNotJudged    = "not-judged"
)

// RuleIDs lists the ids that violations and warnings of an Admission carry.
func RuleIDs() []string {
	return []string{
		ruleUnknownField, ruleType, ruleRequired, ruleInvalid, ruleDuplicate, ruleUnsupported, ruleForbidden, ruleImmutable,
		ruleTooLong, ruleTooMany, ruleNotFound, ruleRemovedAPI, ruleNotServed, ruleDeprecated, ruleWarning, ruleNotStored, ruleNotJudged,
	}
}

// Admit is the API server's answer on creating o, or on o replacing old when old is not nil. set holds the CRDs. The answer
// is made at most once for an object and shared: nobody may change it.
func (r *Rules) Admit(set *policies.Set, o, old *policies.Object) *Admission {
	if b := r.builtin(o.Kind); b != nil {
		if old != nil {
			return r.admitUpdate(b, o, old)
		}
		a := r.admitCreate(b, o)
		if o.Kind.GroupKind() == crdKind {
			if found := rivals(set, o); len(found) > 0 {
				mine := *a
				mine.Violations = append(slices.Clone(a.Violations), found...)
				return &mine
			}
		}
		return a
	}
	d, err := definitionOf(set, o.Kind.GroupKind())
	switch {
	case err != nil:
		return &Admission{Known: true, Err: fmt.Errorf("%s: %w", o, err)}
	case d != nil:
		return d.admitCustom(o, old)
	}
	if k := r.formOnly(o.Kind); k != nil {
		return r.admitFormOnly(k, o)
	}
	if a := r.admitUnserved(o); a != nil {
		return a
	}
	if t, ok := transientKinds[o.Kind]; ok {
		return admitTransient(t, o)
	}
	if a := r.admitUnknown(o); a != nil {
		return a
	}
	return &Admission{}
}

// Stored is o as the API server would store it, in the version as written, without the fields that only a running server can
// know (serverAssigned). Unknown fields are dropped, as the API server does for a client that does not ask for strictness. The
// error says why o cannot be read at all. For a kind that is not known it is o as written. The result is shared: nobody may
// change it.
func (r *Rules) Stored(set *policies.Set, o *policies.Object) (map[string]any, error) {
	if b := r.builtin(o.Kind); b != nil {
		return r.storedBuiltin(b, o)
	}
	d, err := definitionOf(set, o.Kind.GroupKind())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", o, err)
	case d != nil:
		return d.storedCustom(o)
	}
	return o.Map(), nil
}

// Resource is the resource that objects of a kind are sent to, and whether it is namespaced.
func (r *Rules) Resource(set *policies.Set, gvk policies.GroupVersionKind) (res policies.Resource, namespaced, known bool) {
	if b := r.builtin(gvk); b != nil {
		return b.resource, b.strategy.NamespaceScoped(), true
	}
	if t, ok := transientKinds[gvk]; ok {
		return policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: t.plural}, t.namespaced, true
	}
	if d, err := definitionOf(set, gvk.GroupKind()); err == nil && d != nil {
		return d.resource(gvk.Version), d.namespaced(), true
	}
	if k := r.formOnly(gvk); k != nil {
		return policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: k.Plural}, k.Namespaced, true
	}
	return policies.Resource{}, false, false
}

// builtin is the kind that this version of Kubernetes stores, or nil.
func (r *Rules) builtin(gvk policies.GroupVersionKind) *builtin {
	if b := builtins()[gvk]; b != nil && b.exists(r.minor) {
		return b
	}
	return nil
}
