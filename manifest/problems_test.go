package manifest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// Each text says what is wrong with it, where, with which source line.
func TestProblemsNameTheirPlace(t *testing.T) {
	t.Parallel()
	head := "apiVersion: v1\nkind: ConfigMap\n"
	small := Limits{Document: 4 << 10, Fields: 200, Depth: 20, Expanded: 8 << 10}
	for _, test := range []struct {
		name, file, text string
		want             []string // rule line:column "source line" message
	}{
		{"a doubled key", "", head + "data:\n  a: 1\n  b: 2\n  a: 3\n", []string{`duplicate-key 6:3 "  a: 3" key "a" is written twice, first at line 4; expected once`}},
		{"a doubled key beside an anchor", "", head + "data: &x\n  a: 1\n  a: 3\n", []string{`duplicate-key 5:3 "  a: 3" key "a" is written twice, first at line 4; expected once`}},
		{"a key that is doubled once it is text", "", head + "data:\n  1: a\n  \"1\": b\n  ? c\n  : d\n", []string{`duplicate-key 5:3 "  \"1\": b" key "1" is written twice, first at line 4; expected once`}},
		{"a key that is doubled once its tag is read", "", head + "data:\n  abc: x\n  !!binary YWJj: y\n", []string{`duplicate-key 5:3 "  !!binary YWJj: y" key "abc" is written twice, first at line 4; expected once`}},
		{"a number that is doubled once its tag is read", "", head + "data:\n  \"16\": x\n  !!int 0x10: y\n", []string{`duplicate-key 5:3 "  !!int 0x10: y" key "16" is written twice, first at line 4; expected once`}},
		{"a doubled key in braces", "", head + "data: {a: 1, a: 2}\n", []string{`duplicate-key 3:14 "data: {a: 1, a: 2}" key "a" is written twice, first at line 3; expected once`}},
		{"a doubled key in JSON", "", `{"apiVersion": "v1", "kind": "Pod", "kind": "Pod"}`, []string{`duplicate-key 1:37 "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"kind\": \"Pod\"}" key "kind" is written twice, first at line 1; expected once`}},
		{"a merged key that is overridden is none", "", head + "a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n", nil},
		{"a colon in a value", "", head + "data:\n  a: b: c\n", []string{`syntax 4:7 "  a: b: c" a key with a value stands where only a value can, expected a new line or quotes`}},
		{"a tab", "", head + "data:\n\ta: b\n", []string{`syntax 4:1 "\ta: b" line is indented with a tab, which YAML forbids; expected spaces`}},
		{"a line that fits nowhere", "", head + "data:\n  a: b\n c: d\n", []string{`syntax 5:2 " c: d" line does not fit the map above it, expected a key at the map's indentation`}},
		{"a list that ends as a map", "", head + "data:\n- a\nb\n", []string{`syntax 5:1 "b" key has no colon, expected ` + "`key: value`"}},
		{"text behind the document's end", "", "{a: b}\nc: d\n", []string{`syntax 2:1 "c: d" text goes on after the document's end, expected ` + "`---` or the indentation of its first line"}},
		{"an open quote", "", head + "data: \"a\n", []string{`syntax 3:1 "data: \"a" quoted text is not closed before the end, expected a closing quote`}},
		{"an open bracket", "", head + "data: [a\n", []string{`syntax 3:1 "data: [a" list in brackets is not closed, expected ` + "`,` or `]`"}},
		{"a key without text", "", head + "data: {~: b}\n", []string{`syntax 3:8 "data: {~: b}" key is empty, a map or a list, expected a text`}},
		{"a key that is a list", "", head + "data:\n  ? [a]\n  : b\n", []string{`syntax 4:5 "  ? [a]" key is empty, a map or a list, expected a text`}},
		{"a directive", "", "%YAML 1.1\n---\n" + head, []string{`syntax 1:1 "%YAML 1.1" text has a YAML directive, which Kubernetes' clients refuse`}},
		{"text behind a separator", "", "--- !x\n" + head, []string{`syntax 1:4 "--- !x" document separator has text after it, which kubectl refuses`}},
		{"a template", "", head + "data:\n  a: {{ .Values.a }}\n", []string{`syntax 4:6 "  a: {{ .Values.a }}" text is no YAML and looks like a Helm or Go template, expected a rendered manifest`}},
		{"an infinite number", "", head + "data: {a: .inf}\n", []string{`syntax 3:11 "data: {a: .inf}" number .inf is infinite or not a number, which JSON cannot hold; expected a finite one`}},
		{"an alias without an anchor", "", head + "data: *a\n", []string{`syntax 3:7 "data: *a" alias *a names no anchor before it`}},
		{"an alias of itself", "", head + "data: &a [*a]\n", []string{`alias 3:11 "data: &a [*a]" alias *a contains itself, expected a value that ends`}},
		{"aliases that explode", "", head + "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n",
			[]string{`alias 5:4 "c: [*b,*b,*b,*b,*b,*b]" aliases expand this value beyond 200 fields or 8192 bytes, expected less`}},
		{"too many levels", "", head + "data: " + strings.Repeat("[", 30) + strings.Repeat("]", 30) + "\n", []string{`too-deep 3:27 "data: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]" value is nested deeper than 20 levels, expected less`}},
		{"too many fields", "", head + "data: [" + strings.Repeat("a,", 500) + "a]\n", []string{`too-large 3:7 "data: [` + strings.Repeat("a,", 96) + `a" value has more than 200 fields, expected less`}},
		{"too many bytes", "", head + "data: " + strings.Repeat("x", 5000) + "\n---\n" + head + "a: [\n", []string{
			`too-large 1:1 "apiVersion: v1" document is larger than 4096 bytes, expected less`,
			`syntax 7:1 "a: [" value is missing, or begins with a character that cannot begin one`}},
		{"invalid UTF-8", "", head + "data: {a: \xff}\n", []string{`encoding 3:11 "data: {a: ` + "\uFFFD" + `}" text is not valid UTF-8 here, expected UTF-8`}},
		{"invalid UTF-8 in JSON", "", "{\"apiVersion\": \"v1\xff\", \"kind\": \"A\"}", []string{`encoding 1:19 "{\"apiVersion\": \"v1` + "\uFFFD" + `\", \"kind\": \"A\"}" text is not valid UTF-8 here, expected UTF-8`}},
		{"a null byte", "", head + "data: \x00\n", []string{"encoding 3:7 \"data: \\x00\" text has the control character U+0000, which YAML does not allow"}},
		{"UTF-16", "", "\xff\xfea\x00p\x00i\x00", []string{`encoding 1:1 "` + "\uFFFDa\\x00p\\x00i\\x00" + `" text is UTF-16 or UTF-32, expected UTF-8`}},
		{"no apiVersion", "", "# c\nkind: Pod\n", []string{`not-a-manifest 2:1 "kind: Pod" document has no apiVersion, expected a group and version like "apps/v1"`}},
		{"no kind", "", "apiVersion: v1\nmetadata: {}\n", []string{`not-a-manifest 1:1 "apiVersion: v1" document has no kind, expected a name like "Deployment"`}},
		{"neither", "", "# c\n\n  a: b\n", []string{`not-a-manifest 3:3 "  a: b" document has no apiVersion and no kind, expected a Kubernetes object`}},
		{"a kind that is a number", "", "apiVersion: v1\nkind: 1\n", []string{`not-a-manifest 2:1 "kind: 1" field kind is a number, expected a name like "Deployment"`}},
		{"an apiVersion that YAML reads as a number", "", "apiVersion: 1\nkind: Pod\n", []string{`not-a-manifest 1:1 "apiVersion: 1" field apiVersion is a number, expected a group and version like "apps/v1"`}},
		{"a list", "", "- a\n", []string{`not-a-manifest 1:1 "- a" document is a list, expected a Kubernetes object with apiVersion and kind`}},
		{"a text", "", "hello\n", []string{`not-a-manifest 1:1 "hello" document is a string, expected a Kubernetes object with apiVersion and kind`}},
		{"a List without items", "", "apiVersion: v1\nkind: List\n", []string{`not-a-manifest 2:1 "kind: List" List has no field items, expected a list of Kubernetes objects`}},
		{"a List whose items are a map", "", "apiVersion: v1\nkind: List\nitems: {}\n", []string{`not-a-manifest 3:1 "items: {}" field items is a map, expected a list of Kubernetes objects`}},
		{"JSON that ends too early", "", "{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"spec\": {\n", []string{`syntax 2:25 " \"kind\": \"Pod\", \"spec\": {" text ends inside a map or list, expected its closing bracket`}},
		{"JSON of a Secret that is no manifest", "", `{"kind":"Secret","data":{"a":"aHVudGVy"}}`, []string{`not-a-manifest 1:2 "{\"kind\": ***" document has no apiVersion, expected a group and version like "apps/v1"`}},
		{"an item of a List that is none", "", "apiVersion: v1\nkind: List\nitems:\n- a\n- kind: Pod\n  apiVersion: v1\n- b: c\n", []string{
			`not-a-manifest 4:3 "- a" items[0] is a string, expected a Kubernetes object with apiVersion and kind`,
			`not-a-manifest 7:3 "- b: c" items[2] has no apiVersion and no kind, expected a Kubernetes object`}},
		{"a kustomization", "x/kustomization.yaml", "resources: [a.yaml]\n", []string{`not-a-manifest 1:1 "resources: [a.yaml]" document has no apiVersion and no kind, expected a Kubernetes object: this looks like a kustomization`}},
		{"values", "values.yaml", "replicaCount: 1\n", []string{`not-a-manifest 1:1 "replicaCount: 1" document has no apiVersion and no kind, expected a Kubernetes object: this looks like values of a Helm chart`}},
		{"a workflow", "ci.yaml", "on: push\njobs: {}\n", []string{`not-a-manifest 1:1 "on: push" document has no apiVersion and no kind, expected a Kubernetes object: this looks like a CI workflow`}},
		{"a broken Secret shows no value", "", "apiVersion: v1\nkind: Secret\nstringData:\n  password: hunter2: x\n", []string{`syntax 4:20 "  password: ***" a key with a value stands where only a value can, expected a new line or quotes`}},
		{"a doubled key of a Secret shows no value", "", "apiVersion: v1\nkind: Secret\nstringData:\n  p: hunter2\n  p: hunter3\n", []string{`duplicate-key 5:3 "  p: ***" key "p" is written twice, first at line 4; expected once`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := test.file
			if file == "" {
				file = "f.yaml"
			}
			_, problems := Decode(file, []byte(test.text), small)
			var got []string
			for _, p := range problems {
				got = append(got, fmt.Sprintf("%s %d:%d %q %s", p.Rule, p.Pos.Line, p.Pos.Column, p.Pos.Text, p.Message))
				if p.Fix == "" && p.Rule != RuleTooDeep || p.Pos.File != file {
					t.Errorf("no fix or no file: %+v", p)
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

func TestADocumentTellsOfAHundredProblemsAtMost(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"apiVersion: v1\nkind: X\n" + strings.Repeat("a: b\n", 500),
		"apiVersion: v1\nkind: X\nz: &a b\n" + strings.Repeat("a: b\n", 500),
		"apiVersion: v1\nkind: List\nitems:\n" + strings.Repeat("- b\n", 500),
	} {
		_, problems := Decode("f.yaml", []byte(text), Limits{})
		if len(problems) != maxProblems || !strings.Contains(problems[maxProblems-1].Message, "further problems of this document are not shown") {
			t.Errorf("%d problems, the last one %+v", len(problems), problems[len(problems)-1])
		}
	}
}

func TestADoubledKeyLeavesTheObject(t *testing.T) {
	t.Parallel()
	objects, problems := Decode("f.yaml", []byte("apiVersion: v1\nkind: X\nmetadata: {name: a}\nmetadata: {name: b}\n"), Limits{})
	if len(objects) != 1 || objects[0].Name != "b" || len(problems) != 1 {
		t.Fatalf("got %v and %+v", objects, problems)
	}
	if pos := objects[0].Locate(policies.ParsePath("metadata.name"), policies.AtValue); pos.Line != 4 {
		t.Errorf("the name that counts is at %+v", pos)
	}
}

func TestFieldsAreLocated(t *testing.T) {
	t.Parallel()
	block := "# c\napiVersion: v1\nkind: Pod\nmetadata:\n  labels: {a: b, \"c\": 'd'}\nspec:\n  containers:\n  - name: web # c\n    image: \"i:1\"\n    args: [x, \"y\",\n      z]\n  -   name: side\n  empty:\n  text: |\n    one\n  plain: a\n    b\n"
	js := `{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "web"}]}}` + "\n"
	anchors := "apiVersion: v1\nkind: Pod\nx: &x\n  a: {b: c}\n  é: &y [d]\nv: *x\nz:\n  <<: *x\n  e: *y\nw:\n  <<: [{f: g}, *x]\n"
	list := "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {a: b}\n"
	secret := "apiVersion: v1\nkind: Secret\nstringData:\n  password: hunter2\n  key: |\n    hunter3\ntype: Opaque\n"
	for _, test := range []struct {
		text, path string
		at         policies.Aspect
		want       string // line:column-end "line"
	}{
		{block, "", policies.AtValue, `2:1 "apiVersion: v1"`},
		{block, "kind", policies.AtValue, `3:7-10 "kind: Pod"`},
		{block, "kind", policies.AtKey, `3:1-5 "kind: Pod"`},
		{block, "metadata", policies.AtValue, `4:1-9 "metadata:"`},
		{block, "metadata.labels.a", policies.AtValue, `5:15-16 "  labels: {a: b, \"c\": 'd'}"`},
		{block, "metadata.labels.c", policies.AtKey, `5:18-21 "  labels: {a: b, \"c\": 'd'}"`},
		{block, "metadata.labels.c", policies.AtValue, `5:23-26 "  labels: {a: b, \"c\": 'd'}"`},
		{block, "metadata.labels.none", policies.AtValue, `5:3-9 "  labels: {a: b, \"c\": 'd'}"`},
		{block, "spec.containers", policies.AtValue, `7:3-13 "  containers:"`},
		{block, "spec.containers[0]", policies.AtValue, `8:5 "  - name: web # c"`},
		{block, "spec.containers[0].name", policies.AtValue, `8:11-14 "  - name: web # c"`},
		{block, "spec.containers[0].image", policies.AtValue, `9:12-17 "    image: \"i:1\""`},
		{block, "spec.containers[0].securityContext.privileged", policies.AtValue, `8:5 "  - name: web # c"`},
		{block, "spec.containers[0].args[1]", policies.AtValue, `10:15-18 "    args: [x, \"y\","`},
		{block, "spec.containers[0].args[2]", policies.AtValue, `11:7-8 "      z]"`},
		{block, "spec.containers[0].args[3]", policies.AtValue, `10:5-9 "    args: [x, \"y\","`},
		{block, "spec.containers[1].name", policies.AtValue, `12:13-17 "  -   name: side"`},
		{block, "spec.empty", policies.AtValue, `13:3-8 "  empty:"`},
		{block, "spec.text", policies.AtValue, `14:9-10 "  text: |"`},
		{block, "spec.plain", policies.AtValue, `16:10-11 "  plain: a"`},
		{block, "status", policies.AtValue, `3:7-10 "kind: Pod"`},
		{js, "spec.containers[0].name", policies.AtValue, `1:70-75 "` + strings.ReplaceAll(strings.TrimSpace(js), `"`, `\"`) + `"`},
		{anchors, "v.a.b", policies.AtValue, `4:10-11 "  a: {b: c}"`},
		{anchors, "v.é[0]", policies.AtValue, `5:11-12 "  é: &y [d]"`},
		{anchors, "z.a", policies.AtValue, `4:3-4 "  a: {b: c}"`},
		{anchors, "z.e[0]", policies.AtValue, `5:11-12 "  é: &y [d]"`},
		{anchors, "w.f", policies.AtValue, `11:12-13 "  <<: [{f: g}, *x]"`},
		{anchors, "w.a.b", policies.AtValue, `4:10-11 "  a: {b: c}"`},
		{anchors, "z.none", policies.AtValue, `7:1-2 "z:"`},
		{list, "", policies.AtValue, `4:3 "- apiVersion: v1"`},
		{list, "spec.a", policies.AtValue, `6:13-14 "  spec: {a: b}"`},
		{list, "none", policies.AtValue, `5:9-12 "  kind: Pod"`},
		{secret, "stringData.password", policies.AtValue, `4:13 "  password: ***"`},
		{secret, "stringData.key", policies.AtValue, `5:8-9 "  key: ***"`},
		{secret, "stringData", policies.AtValue, `3:1-11 "stringData:"`},
		{secret, "type", policies.AtValue, `7:7-13 "type: Opaque"`},
		{`{"kind":"List","apiVersion":"v1","items":[{"kind":"Secret","apiVersion":"v1","data":{"a":"aHVudGVy"}},{"kind":"Pod","apiVersion":"v1"}]}`, "kind", policies.AtValue, `1:111 "{\"kind\": ***"`},
		{"{apiVersion: v1, kind: Secret, data: {a: aHVudGVy}}", "kind", policies.AtValue, `1:24 "{apiVersion: ***"`},
		{"apiVersion: v1\nkind: X\na: \"" + strings.Repeat("é", 150) + "\"\n", "a", policies.AtValue, `3:4-306 "a: \"` + strings.Repeat("é", 98) + `"`},
	} {
		t.Run(test.path+" of "+test.text[:8], func(t *testing.T) {
			t.Parallel()
			objects, problems := Decode("f.yaml", []byte(test.text), Limits{})
			if len(objects) == 0 || len(problems) > 0 {
				t.Fatalf("got %d objects, %+v", len(objects), problems)
			}
			pos := objects[len(objects)-1].Locate(policies.ParsePath(test.path), test.at)
			got := fmt.Sprintf("%d:%d", pos.Line, pos.Column)
			if pos.EndColumn > 0 {
				got += fmt.Sprintf("-%d", pos.EndColumn)
			}
			if got += fmt.Sprintf(" %q", pos.Text); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A file of one long line is what tools write: the part around the place is shown, but for a Secret, of which nothing tells
// whether that part is a value.
func TestLongLinesAreCutAroundThePlace(t *testing.T) {
	t.Parallel()
	line := func(kind string) string {
		return `{"apiVersion": "v1", "kind": "` + kind + `", "x": "` + strings.Repeat("é", 500) + `", "spec": {"replicas": -1}, "y": "` + strings.Repeat("z", 500) + `"}`
	}
	locate := func(kind, path string) policies.Position {
		objects, problems := Decode("f.json", []byte(line(kind)), Limits{})
		if len(objects) != 1 || len(problems) > 0 {
			t.Fatalf("got %d objects, %+v", len(objects), problems)
		}
		return objects[0].Locate(policies.ParsePath(path), policies.AtValue)
	}
	pos := locate("Pod", "spec.replicas")
	from, to := pos.InText()
	if from < 0 || to > len(pos.Text) || pos.Text[from:to] != "-1" {
		t.Errorf("offsets %d to %d of %q, expected those of -1", from, to, pos.Text)
	}
	if len(pos.Text) > maxSnippet || !strings.HasPrefix(pos.Text, "é") || !strings.HasPrefix(line("Pod")[pos.TextColumn-1:], pos.Text) {
		t.Errorf("column %d: %q, expected at most %d bytes of the line that begin with a whole character", pos.TextColumn, pos.Text, maxSnippet)
	}
	if pos := locate("Pod", "apiVersion"); pos.TextColumn != 0 || !strings.HasPrefix(pos.Text, `{"apiVersion"`) {
		t.Errorf("got %+v, expected the line from its beginning", pos)
	}
	if pos := locate("Secret", "spec.replicas"); pos.Text != "" || pos.TextColumn != 0 || pos.Column != 1070 {
		t.Errorf("got %+v, expected no text of a Secret and column 1070", pos)
	}
}
