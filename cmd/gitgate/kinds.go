package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/policies/cel"
	"gitgate.dev/gitgate/policies/gatekeeper"
	"gitgate.dev/gitgate/policies/kyverno"
	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
	"gitgate.dev/gitgate/policies/kyverno/clitest"
	"gitgate.dev/gitgate/policies/library"
	"gitgate.dev/gitgate/policies/opa"
	"gitgate.dev/gitgate/policies/rego"
	"gitgate.dev/gitgate/policies/schema"
	"gitgate.dev/gitgate/policies/trace"
	"gitgate.dev/gitgate/policytest"
)

// door is what a door asks of the kinds. The zero value is that of gitgate check.
type door struct {
	missing  missing
	plain    bool // it has documents that are no Kubernetes objects
	answered bool // the API server has judged each object by its schema before it is asked about
	// trace makes the policy that asks which commit declared a change; nil at a door that has no cluster's requests.
	trace func(context.Context, *bundle.Config, *apiserver.Rules) ([]*policies.Policy, error)
}

// missing says what becomes of objects of a kind that no schema covers. The zero value warns.
type missing struct{ ignore, deny bool }

// kinds are the kinds of policy that gitgate judges by, as the configuration and a door want them. No other place names them.
func kinds(c *bundle.Config, host bundle.Host, rules *apiserver.Rules, d door) ([]bundle.Kind, error) {
	if err := checkBuiltins(c); err != nil {
		return nil, err
	}
	also := []string{schema.Missing}
	if d.answered {
		also = []string{schema.Name, schema.Apply, schema.Deprecated, schema.Missing, schema.Warnings}
	}
	return []bundle.Kind{
		{
			Name: "schema",
			Also: also,
			Compile: schema.Compiler(schema.Options{
				Rules:         rules,
				IgnoreMissing: d.missing.ignore,
				StrictMissing: d.missing.deny,
				Answered:      d.answered,
				JSONSchemas:   jsonSchemas(c),
				Read:          host.Read,
			}),
		},
		{
			Name:    library.Kind,
			Ships:   true,
			Compile: libraryPolicies,
		},
		{
			Name:   "rego",
			Claims: rego.Claims,
			Compile: rego.Compiler(rego.Options{
				Namespaces:    c.Rego.Namespaces,
				AllowBuiltins: c.Rego.AllowBuiltins,
				Warn:          host.Warn,
			}),
		},
		{
			Name:   "cel",
			Claims: cel.Claims,
			Beside: cel.Beside,
			Compile: cel.Compiler(cel.Options{
				Kubernetes:      rules.Version(),
				API:             rules,
				Convert:         rules.Convert,
				ImplicitBinding: c.CEL.ImplicitBinding,
			}),
		},
		{
			Name:    "kyverno",
			Claims:  kyverno.Claims,
			Compile: kyverno.Compiler(kyverno.Options{Warn: host.Warn, API: rules, Convert: rules.Convert, Plain: d.plain}),
		},
		{
			Name:    "gatekeeper",
			Claims:  gatekeeper.Claims,
			Compile: gatekeeper.Compiler(gatekeeper.Options{Kubernetes: rules.Version(), AllowBuiltins: c.Rego.AllowBuiltins, Warn: host.Warn}),
		},
		{
			Name: trace.Name,
			Also: []string{trace.Name, breakglass.PolicyName},
			Compile: func(ctx context.Context, _ []policies.Document) ([]*policies.Policy, error) {
				if d.trace == nil {
					return nil, nil
				}
				return d.trace(ctx, c, rules)
			},
		},
	}, nil
}

// libraryPolicies compiles documents of the library, which are Rego and may do what any Rego may without leave.
func libraryPolicies(ctx context.Context, docs []policies.Document) ([]*policies.Policy, error) {
	compiled, err := rego.Compiler(rego.Options{RegoVersion: "v1"})(ctx, docs)
	if err != nil {
		return nil, err
	}
	for _, p := range compiled {
		library.Dress(p)
	}
	return compiled, nil
}

// regoTests runs the test rules among docs, with what the configuration allows to Rego.
func regoTests(ctx context.Context, c *bundle.Config, docs []policies.Document) ([]rego.TestResult, error) {
	return rego.Test(ctx, rego.Options{AllowBuiltins: c.Rego.AllowBuiltins}, docs, nil)
}

// kyvernoTests says what runs tests of the Kyverno CLI: policies of Kubernetes' own kind, and Kyverno's in CEL, are judged by what
// judges them in a bundle.
func kyvernoTests(o clitest.Options, rules *apiserver.Rules) clitest.Options {
	o.Resource = rules.Resource
	o.Claims = func(d policies.Document) bool { return cel.Claims(d) || celpolicy.Judges(d) }
	o.Compile = func(ctx context.Context, docs []policies.Document, t kyverno.Trial) ([]*policies.Policy, error) {
		if len(docs) > 0 && celpolicy.Claims(docs[0]) {
			return celpolicy.Compile(ctx, celpolicy.Options{API: rules, Convert: rules.Convert, Answers: t.Answers()}, docs)
		}
		return cel.Compiler(cel.Options{Kubernetes: rules.Version(), API: rules, Convert: rules.Convert, ImplicitBinding: true})(ctx, docs)
	}
	return o
}

// gatekeeperTrial compiles a template and a constraint of Gatekeeper alone.
func gatekeeperTrial(ctx context.Context, template, constraint *policies.Object, expansions []*policies.Object) (_ policytest.Trial, badConstraint bool, err error) {
	t, err := gatekeeper.NewTrial(ctx, gatekeeper.Options{}, template, constraint, expansions)
	if err != nil {
		var bad *gatekeeper.SchemaError
		return nil, errors.As(err, &bad), err
	}
	return t, false, nil
}

func jsonSchemas(c *bundle.Config) []schema.JSONSchema {
	var out []schema.JSONSchema
	for i, s := range c.Schemas {
		if s.JSONSchema != "" {
			out = append(out, schema.JSONSchema{File: s.JSONSchema, Kind: s.Kind, Names: s.Names, Key: s.Key, Pos: c.Position("schemas", i, "jsonSchema")})
		}
	}
	return out
}

func checkBuiltins(c *bundle.Config) error {
	var errs []error
	for i, name := range c.Rego.AllowBuiltins {
		if !slices.Contains(opa.Guarded(), name) {
			errs = append(errs, policies.ErrorAt(c.Position("rego", "allowBuiltins", i),
				fmt.Errorf("rego.allowBuiltins[%d]: %q needs no leave or does not exist: expected one of %s", i, name, strings.Join(opa.Guarded(), ", "))))
		}
	}
	return errors.Join(errs...)
}
