package gatekeeper_test

import (
	"context"
	"testing"
	"time"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/gatekeeper"
)

const testTime = 500 * time.Millisecond

// FuzzTemplate hands arbitrary documents to the compiler, and asks what compiles about an object.
func FuzzTemplate(f *testing.F) {
	f.Add(template(always) + constraint("match: {}"))
	f.Add(template("package judged\nviolation[{\"msg\": m}] { m := input.parameters.labels[_].key }") + constraint("parameters: {labels: [{key: a}]}"))
	f.Add(native("validations: [{expression: variables.params.limit > 3, messageExpression: string(variables.params.limit)}]") + constraint("match: {}"))
	f.Add("apiVersion: templates.gatekeeper.sh/v1beta1\nkind: ConstraintTemplate\nspec: {targets: [{code: [{engine: Rego, source: {libs: [x]}}]}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		objects, problems := manifest.Decode("policies.yaml", []byte(text), manifest.DefaultLimits())
		if len(problems) > 0 {
			return
		}
		var docs []policies.Document
		for _, o := range objects {
			if d := (policies.Document{File: "policies.yaml", Object: o}); gatekeeper.Claims(d) {
				docs = append(docs, d)
			}
		}
		ps, err := gatekeeper.Compiler(gatekeeper.Options{})(context.Background(), docs)
		if err != nil || len(ps) == 0 {
			return
		}
		e, err := policies.New(ps, nil, nil)
		if err != nil {
			t.Fatalf("policies that compile are refused: %v", err)
		}
		ctx, stop := context.WithTimeout(context.Background(), testTime)
		defer stop()
		for _, r := range e.Decide(ctx, creation(object(t, pod))).Results {
			if _, panicked := r.Err.(*policies.PanicError); panicked {
				t.Fatal(r.Err)
			}
		}
	})
}
