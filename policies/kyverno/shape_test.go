package kyverno

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/go-logr/logr"
	"github.com/kyverno/kyverno/pkg/engine/validate"
	"sigs.k8s.io/yaml"
)

// What is compared from a point below the root has to have the result, the path and the words of the whole.
func TestAShapeMatchesAsThePatternDoes(t *testing.T) {
	t.Parallel()
	read := func(text string) any {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	resources := []string{
		"{spec: {template: {metadata: {labels: {app.x: web}}, spec: {hostPID: true, containers: [{name: a, image: b}]}}}}",
		"{spec: {template: {spec: {hostPID: false, containers: [{name: a, image: c, securityContext: {privileged: true}}]}}}}",
		"{spec: {template: {spec: {hostPID: true, containers: [], args: [a, b], ports: [1, 2.5, '3'], nested: [[1]]}}}}",
		"{spec: {template: {spec: {containers: [{image: b}, {image: c, name: ''}], args: a, ports: 80}}}}",
		"{spec: {template: [a]}}", "{spec: text}", "{spec: null}", "{metadata: {name: a, labels: {x/y: z}}, spec: {a: 1}}", "{}",
	}
	for _, pattern := range []string{
		"{spec: {template: {spec: {hostPID: false}}}}",
		"{spec: {template: {spec: {=(hostPID): false, containers: [{image: b}]}}}}",
		"{spec: {template: {spec: {containers: [{(image): b, =(securityContext): {=(privileged): false}}]}}}}",
		"{spec: {template: {spec: {containers: [{<(image): c, name: b}]}}}}",
		"{spec: {template: {spec: {X(hostPID): null}}}}",
		"{spec: {template: {spec: {^(containers): [{name: a}]}}}}",
		"{spec: {template: {metadata: {labels: {app.*: web}}}}}",
		"{spec: {template: {(metadata): {labels: {app.*: web}}, spec: {hostPID: true}}}}",
		"{metadata: {=(labels): {x/*: z}}}",
		"{spec: {template: {spec: '*'}}}", "{spec: '*'}", "{spec: {template: '?*'}}",
		"{spec: {template: {spec: {args: [a]}}}}", "{spec: {template: {spec: {args: '?*'}}}}", "{spec: {template: {spec: {=(ports): '>0 & <81 | 3'}}}}",
		"{spec: {template: {spec: {ports: ['!80']}}}}", "{spec: {template: {spec: {nested: [[1]]}}}}", "{spec: {template: {spec: {args: []}}}}",
		"{spec: {template: {spec: {containers: [{(image): '?', name: a*, X(other): x}], (hostPID): true}}}}",
		"{spec: {template: {spec: {' =(args) ': a, +(hostPID): true}}}}", "{spec: {template: {spec: {containers: [{name: '*'}, {name: z}], hostPID: null}}}}",
		"{(spec): {template: {spec: {hostPID: true}}}}", "{spec: {a: 1}}", "{spec: {}}",
	} {
		s, untouched := shapeOf(read(pattern)), read(pattern)
		for _, resource := range resources {
			want := validate.MatchPattern(logr.Discard(), read(resource), read(pattern))
			got := s.match(read(resource))
			if fmt.Sprintf("%#v", want) == fmt.Sprintf("%#v", got) {
				continue
			}
			a, _ := want.(*validate.PatternError)
			b, _ := got.(*validate.PatternError)
			if a == nil || b == nil || a.Path != b.Path || a.Skip != b.Skip || a.Error() != b.Error() {
				t.Errorf("%s of %s: got %#v, want %#v", pattern, resource, got, want)
			}
		}
		if !reflect.DeepEqual(s.pattern, untouched) {
			t.Errorf("%s was changed: %v", pattern, s.pattern)
		}
	}
}
