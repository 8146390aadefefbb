package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
)

// parse reads a manifest without its apiVersion and kind; "" is nil.
func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	if text == "" {
		return nil
	}
	objects, problems := manifest.Decode("x.yaml", []byte("apiVersion: v1\nkind: X\n"+text), manifest.DefaultLimits())
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("%s\n%v", text, problems)
	}
	return objects[0].Map()
}

// lists are those of the fields that the cases use.
func lists(p policies.Path) trace.List {
	last, _ := p[len(p)-1].(string)
	switch last {
	case "volumeMounts":
		return trace.List{Type: trace.ListMap, Keys: []string{"mountPath"}}
	case "ownerReferences":
		return trace.List{Type: trace.ListMap, Keys: []string{"uid"}}
	case "containers", "initContainers", "env", "volumes":
		return trace.List{Type: trace.ListMap, Keys: []string{"name"}}
	case "ports":
		return trace.List{Type: trace.ListMap, Keys: []string{"containerPort", "protocol"}}
	case "finalizers":
		return trace.List{Type: trace.ListSet}
	}
	return trace.List{}
}

func TestWhatARequestWritesHasToBeWhatGitDeclares(t *testing.T) {
	for _, tc := range []struct {
		name               string
		declared, new, old string
		want               string // differences, one a line
	}{
		{"a creation of the declared object traces", "spec: {a: 1, b: [1, 2]}", "spec: {a: 1, b: [1, 2]}", "", ""},
		{"numbers of one value are equal", "spec: {a: 1, b: 2.0}", "spec: {a: 1.0, b: 2}", "", ""},
		{"a number is no text", "spec: {a: 1}", "spec: {a: \"1\"}", "", "spec.a: another value is declared"},
		{"true is no text", "spec: {a: true}", "spec: {a: \"true\"}", "", "spec.a: another value is declared"},
		{"a null is no field", "spec: {a: null, b: 1}", "spec: {b: 1, c: null}", "", ""},
		{"what the API server assigns is no content", "metadata: {name: x}", "metadata: {name: x, uid: u, resourceVersion: \"1\", generation: 1, creationTimestamp: \"2026-01-01T00:00:00Z\", managedFields: [{}]}\nstatus: {phase: Active}", "", ""},
		{"empty labels say what none say", "metadata: {name: x, labels: {}}", "metadata: {name: x, annotations: {}}", "", ""},
		{"an empty selector is not none", "spec: {selector: {}}", "spec: {}", "", "spec.selector: declared, and left out"},
		{"another value does not trace", "spec: {image: good}", "spec: {image: evil}", "", "spec.image: another value is declared"},
		{"a field more does not trace", "spec: {image: good}", "spec: {image: good, hostPID: true}", "", "spec.hostPID: not declared"},
		{"a field less does not trace on creation", "spec: {image: good, runAsNonRoot: true}", "spec: {image: good}", "", "spec.runAsNonRoot: declared, and left out"},
		{"a label more does not trace", "metadata: {name: x}", "metadata: {name: x, labels: {a: b}}", "", "metadata.labels: not declared"},
		{"an annotation more does not trace", "metadata: {name: x, annotations: {a: b}}", "metadata: {name: x, annotations: {a: b, c: d}}", "", "metadata.annotations.c: not declared"},
		{"an owner more does not trace", "metadata: {name: x}", "metadata: {name: x, ownerReferences: [{uid: u}]}", "", "metadata.ownerReferences: not declared"},
		{"a kind of its own does not trace", "spec: {}", "spec: {}\ntype: Opaque", "", "type: not declared"},

		{"an update to what is declared traces", "spec: {a: 2}", "spec: {a: 2}", "spec: {a: 1}", ""},
		{"what does not change is not asked", "spec: {a: 1}", "spec: {a: 9, b: 9}", "spec: {a: 9, b: 9}", ""},
		{"a drift that only part of the update mends stays unasked", "spec: {a: 1, b: 1}", "spec: {a: 1, b: 9}", "spec: {a: 9, b: 9}", ""},
		{"a change beside a drift is asked", "spec: {a: 1, b: 1}", "spec: {a: 8, b: 9}", "spec: {a: 9, b: 9}", "spec.a: another value is declared"},
		{"what is no longer declared may go", "spec: {a: 1}", "spec: {a: 1}", "spec: {a: 1, b: 2}", ""},
		{"what is declared may not go", "spec: {a: 1, b: 2}", "spec: {a: 1}", "spec: {a: 1, b: 2}", "spec.b: declared, and left out"},
		{"a declared list may not go", "spec: {a: [1]}", "spec: {}", "spec: {a: [1]}", "spec.a: declared, and left out"},
		{"what was not there may stay away", "spec: {a: 1, b: 2}", "spec: {a: 1}", "spec: {a: 0}", ""},
		{"one new field inside an undeclared map is found alone", "spec: {}", "spec: {m: {a: 1, b: 2}}", "spec: {m: {a: 1}}", "spec.m.b: not declared"},
		{"a map that becomes a text is found", "spec: {m: {a: 1}}", "spec: {m: evil}", "spec: {m: {a: 1}}", "spec.m: another value is declared"},

		{"a sidecar does not trace", "spec: {containers: [{name: a, image: x}]}", "spec: {containers: [{name: a, image: x}, {name: evil, image: y}]}", "spec: {containers: [{name: a, image: x}]}", "spec.containers[1]: not declared"},
		{"a sidecar before the others does not trace", "spec: {containers: [{name: a, image: x}]}", "spec: {containers: [{name: evil, image: y}, {name: a, image: x}]}", "", "spec.containers[0]: not declared"},
		{"an image in a list is found by its key", "spec: {containers: [{name: a, image: x}, {name: b, image: y}]}", "spec: {containers: [{name: b, image: evil}, {name: a, image: x}]}", "spec: {containers: [{name: b, image: y}, {name: a, image: x}]}", "spec.containers[0].image: another value is declared"},
		{"containers in another order do not trace", "spec: {containers: [{name: a}, {name: b}]}", "spec: {containers: [{name: b}, {name: a}]}", "", "spec.containers: declared in another order"},
		{"containers that stay in another order are not asked", "spec: {containers: [{name: a, image: x}, {name: b}]}", "spec: {containers: [{name: b}, {name: a, image: x}]}", "spec: {containers: [{name: b}, {name: a, image: w}]}", ""},
		{"a container that is taken away is found", "spec: {containers: [{name: a}, {name: b}]}", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: a}, {name: b}]}", "spec.containers[1]: declared, and left out"},
		{"a container that is no longer declared may go", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: a}, {name: b}]}", ""},
		{"two items of one key are compared in order", "spec: {env: [{name: a, value: \"1\"}]}", "spec: {env: [{name: a, value: \"1\"}, {name: a, value: \"2\"}]}", "", "spec.env: another value is declared"},
		{"ports are told apart by number and protocol", "spec: {ports: [{containerPort: 53, protocol: TCP}, {containerPort: 53, protocol: UDP}]}", "spec: {ports: [{containerPort: 53, protocol: TCP}, {containerPort: 53, protocol: UDP, hostPort: 53}]}", "", "spec.ports[1].hostPort: not declared"},
		{"keys that only look alike are not mixed up", "spec: {ports: [{containerPort: 1, protocol: \"2\"}]}", "spec: {ports: [{containerPort: \"1\", protocol: \"2\"}]}", "", "spec.ports[0]: not declared\nspec.ports[0]: declared, and left out"},
		{"an item that is no map does not hide", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: a}, evil]}", "", "spec.containers: another value is declared"},
		{"a set has no order", "metadata: {finalizers: [a, b]}", "metadata: {finalizers: [b, a]}", "", ""},
		{"an item more in a set is found", "metadata: {finalizers: [a]}", "metadata: {finalizers: [a, evil]}", "metadata: {finalizers: [a]}", "metadata.finalizers[1]: not declared"},
		{"an item of a set that was there stays", "metadata: {finalizers: [a, new]}", "metadata: {finalizers: [a, new, others]}", "metadata: {finalizers: [a, others]}", ""},
		{"a declared item of a set may not go", "metadata: {finalizers: [a, b]}", "metadata: {finalizers: [a]}", "metadata: {finalizers: [a, b]}", "metadata.finalizers[1]: declared, and left out"},
		{"an atomic list has its order", "spec: {args: [a, b]}", "spec: {args: [b, a]}", "", "spec.args[0]: another value is declared\nspec.args[1]: another value is declared"},
		{"an atomic list that is longer is another", "spec: {args: [a]}", "spec: {args: [a, b]}", "", "spec.args: another value is declared"},
		{"an atomic list is not mixed of old and declared", "spec: {args: [a, b]}", "spec: {args: [a, x]}", "spec: {args: [y, x]}", "spec.args[1]: another value is declared"},
		{"a field inside an atomic list is named", "spec: {rules: [{verbs: [get]}]}", "spec: {rules: [{verbs: [get, delete]}]}", "spec: {rules: [{verbs: [list]}]}", "spec.rules[0].verbs: another value is declared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := trace.Content{Declared: parse(t, tc.declared), New: parse(t, tc.new), Old: parse(t, tc.old), Lists: lists}
			if got := told(trace.Compare(c)); got != tc.want {
				t.Errorf("differences:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func told(found []trace.Difference) string {
	var lines []string
	for _, d := range found {
		lines = append(lines, fmt.Sprintf("%s: %s", d.Path, d.Cause))
	}
	return strings.Join(lines, "\n")
}

func TestFieldsOfOthersCountOnlyWhereGitDeclaresNothing(t *testing.T) {
	foreign := func(p policies.Path) bool {
		return slices.Contains([]string{"spec.replicas", "metadata.annotations.injected", "spec.containers[1]"}, p.String())
	}
	for _, tc := range []struct{ name, declared, live, want string }{
		{"an undeclared field of another writer", "spec: {a: 1}", "spec: {a: 1, replicas: 5}", ""},
		{"a declared field stays Git's", "spec: {replicas: 3}", "spec: {replicas: 5}", "spec.replicas: another value is declared"},
		{"one of two undeclared annotations", "metadata: {name: x}", "metadata: {name: x, annotations: {injected: y, evil: z}}", "metadata.annotations.evil: not declared"},
		{"a container of another writer", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: a}, {name: b}]}", ""},
		{"a container of nobody", "spec: {containers: [{name: a}]}", "spec: {containers: [{name: evil}, {name: a}]}", "spec.containers[0].name: not declared"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := trace.Content{Declared: parse(t, tc.declared), New: parse(t, tc.live), Lists: lists, Foreign: foreign}
			if got := told(trace.Compare(c)); got != tc.want {
				t.Errorf("differences:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func TestAValueThatIsNotKnownMayBeAnyButHasToBeDeclared(t *testing.T) {
	c := trace.Content{
		Declared: parse(t, "data: {password: ENC}"),
		New:      parse(t, "data: {password: c2VjcmV0, more: eA==}"),
		Opaque:   func(p policies.Path) bool { return p.String() == "data.password" },
	}
	if got := told(trace.Compare(c)); got != "data.more: not declared" {
		t.Errorf("differences: %s", got)
	}
}

func TestAFloodOfDifferencesIsCut(t *testing.T) {
	data := map[string]any{}
	for i := range 10000 {
		data[fmt.Sprint(i)] = "x"
	}
	if n := len(trace.Compare(trace.Content{Declared: map[string]any{"data": map[string]any{"a": "b"}}, New: map[string]any{"data": data}})); n != 201 {
		t.Errorf("%d differences", n)
	}
}

func FuzzCompare(f *testing.F) {
	f.Add("spec: {containers: [{name: a}, {name: a}]}", "spec: {containers: [{name: b}]}", "spec: [1]")
	f.Fuzz(func(t *testing.T, declared, written, old string) {
		read := func(text string) map[string]any {
			objects, _ := manifest.Decode("x.yaml", []byte("apiVersion: v1\nkind: X\n"+text), manifest.DefaultLimits())
			if len(objects) == 0 {
				return nil
			}
			return objects[0].Map()
		}
		d, n, o := read(declared), read(written), read(old)
		if n == nil {
			return
		}
		found := trace.Compare(trace.Content{Declared: d, New: n, Old: o, Lists: lists})
		if same := trace.Compare(trace.Content{Declared: d, New: n, Old: n, Lists: lists}); len(same) != 0 {
			t.Errorf("an update that changes nothing has differences: %v", same)
		}
		if len(found) == 0 && o == nil && d != nil {
			// A creation that traces writes what is declared: the declared object written over it changes nothing that counts.
			if back := trace.Compare(trace.Content{Declared: n, New: d, Lists: lists}); len(back) != 0 {
				t.Errorf("a creation traces, but not the other way round: %v", back)
			}
		}
	})
}

func BenchmarkCompareDeployment(b *testing.B) {
	text := "metadata: {name: web, namespace: shop, labels: {a: b, c: d}}\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n"
	for i := range 3 {
		text += fmt.Sprintf("      - {name: c%d, image: \"registry.example.com/x:%d\", args: [a, b, c], env: [{name: A, value: x}, {name: B, value: y}, {name: C, value: z}], ports: [{containerPort: 80, protocol: TCP}], resources: {limits: {cpu: 100m, memory: 1Gi}, requests: {cpu: 10m}}, livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 10}}\n", i, i)
	}
	declared, written, old := parse(b, text), parse(b, text), parse(b, strings.ReplaceAll(text, "x:1", "x:0"))
	b.ReportAllocs()
	for b.Loop() {
		if d := trace.Compare(trace.Content{Declared: declared, New: written, Old: old, Lists: lists}); len(d) != 0 {
			b.Fatal(d)
		}
	}
}
