package cel_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// FuzzObjects asks fixed policies about arbitrary objects: the answer is always the same, it is one of those that the contract
// knows, and a violation points at a field that the object or an ancestor of it has.
func FuzzObjects(f *testing.F) {
	for _, text := range append(oracleObjects, benchDeployment, blamed) {
		f.Add(text)
	}
	compiled, err := compile(f, cel.Options{API: testAPI{}}, strings.ReplaceAll(benchPolicies(len(benchSpecs)), `["", apps]`, `["*"]`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Decode("object.yaml", []byte(text), manifest.DefaultLimits())
		for _, o := range objects {
			for _, p := range compiled {
				c := creation(o)
				c.Resource = policies.Resource{Group: "apps", Version: "v1", Resource: "deployments"}
				finding, err := p.Judge(context.Background(), c)
				again, errAgain := p.Judge(context.Background(), atPoorDoor(c, 0))
				if told(finding, err) != told(again, errAgain) || !reflect.DeepEqual(pathsOf(finding), pathsOf(again)) {
					t.Fatalf("%s says two things: %s %v and %s %v", p.Name, told(finding, err), pathsOf(finding), told(again, errAgain), pathsOf(again))
				}
				for _, v := range finding.Violations {
					if v.Message == "" || v.Rule == "" {
						t.Fatalf("%s: violation %+v", p.Name, v)
					}
					o.Locate(v.Path, v.At)
				}
			}
		}
	})
}

func pathsOf(f policies.Finding) []string {
	var out []string
	for _, v := range f.Violations {
		out = append(out, v.Path.String())
	}
	return out
}

// FuzzPolicies compiles arbitrary documents: what is wrong with them is told at a place, and what compiles can be asked.
func FuzzPolicies(f *testing.F) {
	for _, spec := range benchSpecs {
		f.Add(policyOf(spec))
	}
	f.Add(policyOf(oracleVariables + "validations: [{expression: \"variables.count > 0\", messageExpression: \"string(variables.count)\"}]\nauditAnnotations: [{key: k, valueExpression: \"'v'\"}]\n"))
	f.Add(paramPolicy("{apiVersion: v1, kind: ConfigMap}", "{selector: {}, namespace: policy, parameterNotFoundAction: Deny}") + "---\n" + limits("policy", "l", "5"))
	f.Add(policyOf("validations:\n- expression: |\n    object.spec.a == 1 &&\n\n    object.spec.b == nothing"))
	o := object(f, blamed)
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Decode("p.yaml", []byte(text), manifest.DefaultLimits())
		var docs []policies.Document
		for _, o := range objects {
			docs = append(docs, policies.Document{File: "p.yaml", Object: o})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		compiled, err := cel.Compiler(cel.Options{API: testAPI{}, ImplicitBinding: true})(ctx, docs)
		if err != nil {
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				var at *policies.PositionError
				if !errors.As(e, &at) || at.Pos.File != "p.yaml" || at.Pos.Line < 1 || strings.Contains(e.Error(), "panicked") {
					t.Fatalf("error without a place: %v", e)
				}
			}
			return
		}
		for _, p := range compiled {
			if _, err := p.Judge(ctx, creation(o)); errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s does not end", p.Name)
			}
		}
	})
}
