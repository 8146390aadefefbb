package parity_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	templatesv1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	templatesv1beta1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1beta1"
	constraintclient "github.com/open-policy-agent/frameworks/constraint/pkg/client"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/reviews"
	"github.com/open-policy-agent/frameworks/constraint/pkg/core/templates"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/drivers/k8scel"
	mutationtypes "github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/types"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/util"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/gatekeeper"
	"gitgate.dev/gitgate/test/gen"
)

// trialFile is one file of testdata/gatekeeper: a template, its constraints, objects to ask about, and, annotated with
// test/inventory, objects beside them.
type trialFile struct {
	template                        *policies.Object
	constraints, objects, inventory []*policies.Object
}

func readTrial(t *testing.T, file string) *trialFile {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
	if len(problems) > 0 {
		t.Fatalf("%s: %+v", file, problems)
	}
	out := &trialFile{}
	for _, o := range objects {
		_, beside := policies.Lookup(o.Map(), policies.Path{"metadata", "annotations", "test/inventory"})
		switch {
		case o.Kind.Group == "templates.gatekeeper.sh":
			out.template = o
		case o.Kind.Group == "constraints.gatekeeper.sh":
			out.constraints = append(out.constraints, o)
		case beside:
			out.inventory = append(out.inventory, o)
		default:
			out.objects = append(out.objects, o)
		}
	}
	return out
}

func unstructuredOf(o *policies.Object) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: runtime.DeepCopyJSON(o.Map())}
}

// framework is Gatekeeper's own client with one constraint, as gator makes it.
func framework(t *testing.T, f *trialFile, constraint *policies.Object) *constraintclient.Client {
	t.Helper()
	native, err := k8scel.New()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := rego.New()
	if err != nil {
		t.Fatal(err)
	}
	client, err := constraintclient.NewClient(constraintclient.Targets(&target.K8sValidationTarget{}), constraintclient.Driver(native), constraintclient.Driver(driver),
		constraintclient.EnforcementPoints(util.GatorEnforcementPoint))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddTemplate(t.Context(), versionless(t, f.template)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddConstraint(t.Context(), unstructuredOf(constraint)); err != nil {
		t.Fatal(err)
	}
	for _, o := range f.inventory {
		if _, err := client.AddData(t.Context(), unstructuredOf(o)); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// versionless is a template as Gatekeeper's client takes it, with its defaults.
func versionless(t *testing.T, o *policies.Object) *templates.ConstraintTemplate {
	t.Helper()
	text, err := json.Marshal(o.Map())
	if err != nil {
		t.Fatal(err)
	}
	var versioned interface {
		ToVersionless() (*templates.ConstraintTemplate, error)
	} = &templatesv1.ConstraintTemplate{}
	if o.Kind.Version == "v1beta1" {
		versioned = &templatesv1beta1.ConstraintTemplate{}
	}
	if err := json.Unmarshal(text, versioned); err != nil {
		t.Fatal(err)
	}
	out, err := versioned.ToVersionless()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func frameworkSays(t *testing.T, client *constraintclient.Client, o *policies.Object) []string {
	t.Helper()
	var review any = target.AugmentedUnstructured{Object: *unstructuredOf(o), Source: mutationtypes.SourceTypeOriginal}
	if o.Kind.Kind == "AdmissionReview" {
		text, err := json.Marshal(o.Map())
		if err != nil {
			t.Fatal(err)
		}
		var r admissionv1.AdmissionReview
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		review = target.AugmentedReview{AdmissionRequest: r.Request, Source: mutationtypes.SourceTypeOriginal}
	}
	answer, err := client.Review(t.Context(), review, reviews.EnforcementPoint(util.GatorEnforcementPoint))
	if err != nil {
		t.Fatal(err)
	}
	messages := []string{}
	for _, r := range answer.Results() {
		messages = append(messages, r.Msg)
	}
	slices.Sort(messages)
	return messages
}

func TestGatekeeperItselfFindsTheSame(t *testing.T) {
	files, err := filepath.Glob("testdata/gatekeeper/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			compareWithFramework(t, readTrial(t, file))
		})
	}
}

// The templates of the benchmark, asked about Pods that break each of them and about what teams write.
func TestGatekeeperItselfFindsTheSameInPods(t *testing.T) {
	pods := readTrial(t, "testdata/gatekeeper-pods.yaml").objects
	for m := range gen.Manifests(400) {
		if slices.Contains([]string{"Pod", "Deployment", "StatefulSet", "CronJob", "Service"}, m.Kind) {
			objects, problems := manifest.Decode(m.Path, []byte(m.Text), manifest.DefaultLimits())
			if len(problems) > 0 {
				t.Fatalf("%+v", problems)
			}
			pods = append(pods, objects...)
		}
	}
	files, err := filepath.Glob("../bench/policies/gatekeeper/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			f := readTrial(t, file)
			f.objects = pods
			compareWithFramework(t, f)
		})
	}
}

// compareWithFramework asks Gatekeeper's client and a Trial the same, and wants some violations.
func compareWithFramework(t *testing.T, f *trialFile) {
	t.Helper()
	found, asked := 0, 0
	for _, constraint := range f.constraints {
		client := framework(t, f, constraint)
		trial, err := gatekeeper.NewTrial(context.Background(), gatekeeper.Options{}, f.template, constraint, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range f.objects {
			want := frameworkSays(t, client, o)
			got, err := trial.Review(t.Context(), o, f.inventory)
			if err != nil {
				t.Fatalf("%s: %v", o, err)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s at line %d by %s:\n got: %q\nwant: %q", o, o.Origin.Line, constraint.Name, got, want)
			}
			found, asked = found+len(want), asked+1
		}
	}
	if asked == 0 || found == 0 {
		t.Errorf("asked %d times, %d violations: expected some", asked, found)
	}
}
