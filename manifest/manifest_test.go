package manifest

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"gitgate.dev/gitgate/policies"
)

func collect(seq iter.Seq2[*policies.Object, *Problem]) (objects []*policies.Object, problems []Problem) {
	for o, p := range seq {
		if p != nil {
			problems = append(problems, *p)
		} else {
			objects = append(objects, o)
		}
	}
	return objects, problems
}

func names(objects []*policies.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, fmt.Sprintf("%s@%d:%d#%d", o, o.Origin.Line, o.Origin.Column, o.Origin.Document))
	}
	return out
}

func TestDocumentsAreCut(t *testing.T) {
	t.Parallel()
	cm := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
	}
	js := func(name string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"}}`
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"an empty file holds nothing", "", nil},
		{"comments hold nothing", "# a\n---\n# b\n---\n\n", nil},
		{"a null document holds nothing", "---\nnull\n---\n~\n", nil},
		{"one document", cm("a"), []string{"ConfigMap a@1:1#0"}},
		{"a separator before the first document", "---\n" + cm("a"), []string{"ConfigMap a@2:1#0"}},
		{"a comment before the first key", "# c\n\n" + cm("a"), []string{"ConfigMap a@3:1#0"}},
		{"many documents", cm("a") + "---\n" + cm("b") + "--- # c\n" + cm("c") + "...\n---\n" + cm("d"),
			[]string{"ConfigMap a@1:1#0", "ConfigMap b@6:1#1", "ConfigMap c@11:1#2", "ConfigMap d@17:1#3"}},
		{"text after the end mark is a document too", cm("a") + "...\n" + cm("b"), []string{"ConfigMap a@1:1#0", "ConfigMap b@6:1#1"}},
		{"carriage returns end lines", strings.ReplaceAll(cm("a")+"---\n"+cm("b"), "\n", "\r\n"), []string{"ConfigMap a@1:1#0", "ConfigMap b@6:1#1"}},
		{"a byte order mark begins the file", "\uFEFF" + cm("a"), []string{"ConfigMap a@1:1#0"}},
		{"a separator inside a block of text is text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    b\n", []string{"ConfigMap a@1:1#0"}},
		{"no line end at the end", strings.TrimSuffix(cm("a"), "\n"), []string{"ConfigMap a@1:1#0"}},
		{"JSON", js("a"), []string{"ConfigMap a@1:1#0"}},
		{"JSON after JSON", js("a") + js("b") + "\n\n  " + js("c"), []string{"ConfigMap a@1:1#0", "ConfigMap b@1:63#1", "ConfigMap c@3:3#2"}},
		{"JSON between separators", "---\n" + js("a") + "\n---\n" + js("b"), []string{"ConfigMap a@2:1#0", "ConfigMap b@4:1#1"}},
		{"JSON, then YAML", js("a") + "\n---\n" + cm("b"), []string{"ConfigMap a@1:1#0", "ConfigMap b@3:1#1"}},
		{"YAML in braces is no JSON", "{apiVersion: v1, kind: ConfigMap, metadata: {name: 'a}'}}\n---\n" + cm("b"), []string{"ConfigMap a}@1:1#0", "ConfigMap b@3:1#1"}},
		{"a List gives its items", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n- apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: b}\n",
			[]string{"ConfigMap a@4:3#0", "ConfigMap b@10:5#1"}},
		{"a PodList gives its items their kind", "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n", []string{"Pod a@4:3#0"}},
		{"an empty List holds nothing", "apiVersion: v1\nkind: List\nitems: []\n", nil},
		{"a List of null holds nothing", "apiVersion: v1\nkind: List\nitems: null\n", nil},
		{"a PodList of null holds nothing", `{"apiVersion":"v1","kind":"PodList","items":null}`, nil},
		{"a kind whose name ends in List and has no items is an object", "apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}\n", []string{"AllowList a@1:1#0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			objects, problems := Decode("f.yaml", []byte(test.text), Limits{})
			if len(problems) > 0 {
				t.Fatalf("unexpected problems: %+v", problems)
			}
			if got := names(objects); !reflect.DeepEqual(got, test.want) {
				t.Errorf("Decode: got %q, want %q", got, test.want)
			}
			for _, r := range []io.Reader{strings.NewReader(test.text), iotest.OneByteReader(strings.NewReader(test.text))} {
				streamed, problems := collect(Read("f.yaml", r, Limits{}))
				if len(problems) > 0 {
					t.Fatalf("unexpected problems: %+v", problems)
				}
				if got := names(streamed); !reflect.DeepEqual(got, test.want) {
					t.Errorf("Read: got %q, want %q", got, test.want)
				}
			}
		})
	}
}

func TestReadTellsOfAReaderThatFails(t *testing.T) {
	t.Parallel()
	r := io.MultiReader(strings.NewReader("apiVersion: v1\nkind: Pod\n---\n"), iotest.ErrReader(errors.New("disk is gone")))
	objects, problems := collect(Read("f.yaml", r, Limits{}))
	if len(objects) != 1 || len(problems) != 1 || problems[0].Rule != RuleUnreadable || !strings.Contains(problems[0].Message, "disk is gone") {
		t.Errorf("got %v and %+v", objects, problems)
	}
}
