// Package schema is the kind of policy that asks what the API server itself would say: it turns the answer of package apiserver
// into findings, and judges objects and the data of ConfigMaps by JSON Schemas that users put on them. It knows no other kind of
// policy, no door and no configuration file; that an object comes twice in a change set is for the door to see.
package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies"
)

// The names of the policies that every bundle has.
const (
	Name       = "schema"            // what the API server refuses
	Apply      = "schema/apply"      // what server-side apply refuses besides
	Missing    = "schema/missing"    // a kind that nothing describes
	Deprecated = "schema/deprecated" // a version that will go away, or that is not served by default
	Warnings   = "schema/warning"    // what the API server takes with a word
)

// Options is what a bundle says of the kind.
type Options struct {
	Rules *apiserver.Rules // of the version of Kubernetes that objects are written for

	IgnoreMissing bool // do not speak of kinds that no schema covers
	StrictMissing bool // refuse them

	// Answered says that the API server itself has judged each object before it is asked about here, so that nothing but the JSON
	// Schemas is left to ask.
	Answered bool

	JSONSchemas []JSONSchema
	// Read returns a file of the bundle by its slash-separated path, for the files that JSON Schemas refer to. Where it is nil, a
	// schema refers to nothing but itself and the other documents.
	Read func(name string) ([]byte, error)
}

// JSONSchema puts a JSON Schema on objects of a kind.
type JSONSchema struct {
	File  string            // of the schema, one of the documents that are compiled
	Kind  string            // "ConfigMap", in any group, or "Deployment.apps"
	Names []string          // patterns of path.Match for metadata.name; empty for every name
	Key   string            // judge the JSON or YAML text under this key of data, not the object; "" for the object
	Pos   policies.Position // where the configuration says so
}

// Compiler makes the policies of the kind. Its documents are the files of JSON Schemas, as text, and CustomResourceDefinitions, as
// objects, which must be ones that the API server accepts.
func Compiler(o Options) policies.Compiler {
	return func(_ context.Context, docs []policies.Document) ([]*policies.Policy, error) {
		if o.Rules == nil {
			return nil, errors.New("schema: no rules of a Kubernetes version given")
		}
		made, err := o.compileJSONSchemas(docs)
		if err := errors.Join(checkCRDs(o.Rules, docs), err); err != nil {
			return nil, err
		}
		if o.Answered {
			return made, nil
		}
		return append(o.builtIn(), made...), nil
	}
}

// builtIn are the policies that judge by what the API server says.
func (o Options) builtIn() []*policies.Policy {
	version := o.Rules.Version()
	refers := []policies.GroupKind{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}}
	policy := func(name, doc string, severity policies.Severity, action policies.Action, rules []string, judge func(*apiserver.Admission, *policies.Change) (policies.Finding, error)) *policies.Policy {
		return &policies.Policy{
			Name: name, Kind: Name, Doc: doc, Severity: severity, Action: action, Rules: rules, Refers: refers,
			Match: policies.Match{NoPods: true},
			Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
				return judge(o.Rules.Admit(c.Set, decrypted(c.Object), decrypted(c.Old)), c)
			},
		}
	}
	lives, others := warningRules()
	out := []*policies.Policy{
		policy(Name, fmt.Sprintf("What the API server of Kubernetes %s refuses: unknown fields, wrong types, missing and invalid values, versions that are gone, and what the schema and the rules of a CustomResourceDefinition refuse. What may not change is asked when the object before the change is known", version),
			policies.High, policies.Deny, apiserver.RuleIDs(),
			func(a *apiserver.Admission, _ *policies.Change) (policies.Finding, error) {
				f := policies.Finding{Violations: slices.Clone(a.Violations)}
				switch {
				case a.Err != nil && len(f.Violations) == 0:
					return f, a.Err
				case a.Err != nil:
					f.Violations = append(f.Violations, policies.Violation{Rule: apiserver.NotJudged, Warning: true, Message: "not everything could be judged: " + a.Err.Error()})
				}
				if !a.Known {
					f.Skipped = "no schema covers the kind"
				}
				return f, nil
			}),
		policy(Apply, "Lists of which two items have one key, or sets with a value twice. The API server takes some of them when an object is written whole, and refuses them all in server-side apply, which is how reconcilers write",
			policies.High, policies.Deny, nil,
			func(a *apiserver.Admission, c *policies.Change) (policies.Finding, error) {
				f := policies.Finding{Violations: o.Rules.Duplicates(c.Object, a)}
				for i := range f.Violations {
					f.Violations[i].Rule = "" // the policy is one rule
				}
				return f, nil
			}),
		policy(Deprecated, "Versions of an API that are deprecated, or that clusters do not serve unless they are told to",
			policies.Medium, policies.Warn, lives,
			func(a *apiserver.Admission, _ *policies.Change) (policies.Finding, error) {
				return policies.Finding{Violations: chosen(a.Warnings, lives, Deprecated)}, nil
			}),
		policy(Warnings, "What the API server takes with a word of warning, and what could not be asked here",
			policies.Low, policies.Warn, others,
			func(a *apiserver.Admission, _ *policies.Change) (policies.Finding, error) {
				return policies.Finding{Violations: chosen(a.Warnings, others, Warnings)}, nil
			}),
	}
	if o.IgnoreMissing && !o.StrictMissing {
		return out
	}
	action := policies.Warn
	if o.StrictMissing {
		action = policies.Deny
	}
	return append(out, policy(Missing, "Kinds that neither Kubernetes nor a CustomResourceDefinition of the change set or of schemas describes, so that nothing is known of their objects",
		policies.Medium, action, nil,
		func(a *apiserver.Admission, c *policies.Change) (policies.Finding, error) {
			if a.Known {
				return policies.Finding{}, nil
			}
			return policies.Finding{Violations: []policies.Violation{o.missing(c.Object)}}, nil
		}))
}

func (o Options) missing(object *policies.Object) policies.Violation {
	v := policies.Violation{
		Path:    policies.Path{"kind"},
		Message: fmt.Sprintf("no schema covers %s %s, so that only its policies judge it", object.Kind.APIVersion(), object.Kind.Kind),
		Fix:     "add its CustomResourceDefinition to the change set or under schemas in gitgate.yaml",
	}
	if near := o.Rules.Nearest(object.Kind); near.Kind != "" {
		v.Fix = fmt.Sprintf("did you mean %s %s?", near.APIVersion(), near.Kind)
	}
	return v
}

// warningRules are the rules whose warnings speak of the life of an API version, and the others.
func warningRules() (lives, others []string) {
	for _, id := range apiserver.RuleIDs() {
		if slices.Contains(apiserver.LifeRuleIDs(), id) {
			lives = append(lives, id)
		} else {
			others = append(others, id)
		}
	}
	return lives, others
}

// chosen are the violations of some rules, for the policy of that name: what it is named after is no rule of its own.
func chosen(violations []policies.Violation, rules []string, name string) []policies.Violation {
	var out []policies.Violation
	for _, v := range violations {
		if slices.Contains(rules, v.Rule) {
			if name == Name+"/"+v.Rule {
				v.Rule = ""
			}
			out = append(out, v)
		}
	}
	return out
}

// checkCRDs refuses CustomResourceDefinitions that the API server refuses.
func checkCRDs(rules *apiserver.Rules, docs []policies.Document) error {
	var errs []error
	for _, d := range docs {
		if d.Object == nil {
			continue
		}
		a := rules.Admit(policies.NewSet(), d.Object, nil)
		if a.Err != nil {
			errs = append(errs, policies.ErrorAt(d.Object.Locate(nil, policies.AtValue), a.Err))
		}
		for _, v := range a.Violations {
			errs = append(errs, policies.ErrorAt(d.Object.Locate(v.Path, v.At), errors.New(v.Message)))
		}
	}
	return errors.Join(errs...)
}
