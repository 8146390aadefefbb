package chart

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden table anew")

var (
	firstCells = regexp.MustCompile("(?m)^\\| ((?:`[a-z0-9.-]+\\.[a-z0-9.-]+` ?)+) \\|")
	quoted     = regexp.MustCompile("`([^`]+)`")
	yamlBlock  = regexp.MustCompile("(?ms)^```yaml\n(writers:\n.*?)^```$")
)

// The kinds that are never blocked are a way in while no replica answers: docs/serve.md says of each why it is one, and who is to be let
// write it while one does.
func TestTheDocumentSaysOfEachKindThatIsNeverBlockedWhyAndWhoWritesIt(t *testing.T) {
	values, err := os.ReadFile("../../charts/gitgate/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		Webhook struct {
			NeverBlock struct{ Kinds, Namespaces []string }
		}
	}
	if err := yaml.Unmarshal(values, &chart); err != nil {
		t.Fatal(err)
	}
	listed := slices.Sorted(slices.Values(chart.Webhook.NeverBlock.Kinds))
	document, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(document), "**What a cluster comes up by**")
	text, _, end := strings.Cut(text, "\n## ")
	if !ok || !end {
		t.Fatal("docs/serve.md has no paragraph on what a cluster comes up by")
	}
	var told []string
	for _, row := range firstCells.FindAllStringSubmatch(text, -1) {
		for _, kind := range quoted.FindAllStringSubmatch(row[1], -1) {
			told = append(told, kind[1])
		}
	}
	slices.Sort(told)
	if !slices.Equal(told, listed) {
		t.Errorf("docs/serve.md tells of %q, and values.yaml has %q", told, listed)
	}
	example := yamlBlock.FindStringSubmatch(text)
	if example == nil {
		t.Fatal("docs/serve.md shows no writers")
	}
	var writers struct {
		Writers []struct {
			Writes []struct {
				Kinds, Subresources, Fields []string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(example[1]), &writers); err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, w := range writers.Writers {
		for _, e := range w.Writes {
			if len(e.Subresources)+len(e.Fields) > 0 {
				continue
			}
			for _, kind := range e.Kinds {
				kind, group, _ := strings.Cut(strings.ToLower(kind), ".")
				if singular, ok := strings.CutSuffix(kind, "y"); ok {
					kind = singular + "ie"
				}
				written = append(written, kind+"s."+group)
			}
		}
	}
	for _, kind := range listed {
		if !slices.Contains(written, kind) {
			t.Errorf("docs/serve.md lets nobody write %s", kind)
		}
	}
}

// TestEachRecordedRequestIsAskedOnce puts the requests that real programs made to a real API server before the rules of the webhooks.
func TestEachRecordedRequestIsAskedOnce(t *testing.T) {
	packed, err := os.ReadFile("../recorded/testdata/requests.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	ask := asks(t, webhooks(t, "mode: deny"))
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	table := map[string]int{}
	for lines.Scan() {
		var r struct {
			File    string
			Request admissionv1.AdmissionRequest
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		actor, _, _ := strings.Cut(r.File, "/")
		q := &r.Request
		got := ask(q.Namespace, recorded(t, q))
		resource := strings.TrimSuffix(q.Resource.Resource+"."+q.Resource.Group, ".")
		if q.SubResource != "" {
			resource += "/" + q.SubResource
		}
		if strings.Contains(got, " and ") {
			t.Errorf("%s: asked of both webhooks", r.File)
		}
		asks := q.Resource.Group == "authentication.k8s.io" || q.Resource.Group == "authorization.k8s.io"
		if person := strings.HasPrefix(actor, "human-") || strings.HasPrefix(actor, "flux-") || strings.HasPrefix(actor, "argocd-"); person && got != "waits" && !asks && !slices.Contains(seldom, resource) && q.Namespace != "kube-system" {
			t.Errorf("%s: a write of %s by %s is %q: nothing of theirs goes past the gate", r.File, resource, actor, got)
		}
		table[fmt.Sprintf("%s\t%s\t%s\t%s", got, actor, q.Operation, resource)]++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintln(&text, line)
	}
	const file = "testdata/asked.tsv"
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("%s is not what the API server asks; go test ./test/chart -update, and look at the difference. Got:\n%s", file, text.String())
	}
}

// seldom are the resources of which also people's writes do not wait for the gate: what is never judged, and what a cluster comes up by.
var seldom = []string{
	"leases.coordination.k8s.io", "events", "events.events.k8s.io", "nodes", "serviceaccounts/token",
}

func recorded(t *testing.T, q *admissionv1.AdmissionRequest) *admission.VersionedAttributes {
	t.Helper()
	read := func(raw []byte) runtime.Object {
		if len(raw) == 0 || string(raw) == "null" {
			return nil
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(raw, &o.Object); err != nil {
			t.Fatal(err)
		}
		return o
	}
	kind := schema.GroupVersionKind(q.Kind)
	o, old := read(q.Object.Raw), read(q.OldObject.Raw)
	dry := q.DryRun != nil && *q.DryRun
	who := &user.DefaultInfo{Name: q.UserInfo.Username, Groups: q.UserInfo.Groups}
	a := admission.NewAttributesRecord(o, old, kind, q.Namespace, q.Name, schema.GroupVersionResource(q.Resource), q.SubResource, admission.Operation(q.Operation), nil, dry, who)
	return &admission.VersionedAttributes{Attributes: a, VersionedKind: kind, VersionedObject: o, VersionedOldObject: old}
}
