package conformance_test

import (
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/conformance"
	"gitgate.dev/gitgate/test/controlplane"
)

// What the API server of the table takes, the rules of the other versions of Kubernetes take too, but for what those do not have.
func TestOtherVersionsRefuseOnlyWhatTheyDoNotHave(t *testing.T) {
	t.Parallel()
	table, err := conformance.Table()
	if err != nil {
		t.Fatal(err)
	}
	all, known := cases(t), known(t)
	for _, version := range apiserver.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			rules, err := apiserver.New(version)
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for i, c := range all {
				if c.Change != "" && i%10 != 0 || c.Old != nil || len(c.CRDs) > 0 || known[c.Name()] || table[c.Name()].Answer.Status != conformance.Taken {
					continue
				}
				asked++
				o := policies.NewObject(c.Object, policies.Origin{}, nil, nil)
				a := rules.Admit(nil, o, nil)
				if a.Err != nil || !a.Known {
					t.Errorf("%s: known %v, error %v", c.Name(), a.Known, a.Err)
				}
				for _, v := range a.Violations {
					if c.Object["kind"] == "Service" && len(v.Path) > 0 && v.Path[len(v.Path)-1] == "nodePort" {
						continue // a dry run allocates no port, so the table's server does not look at its range
					}
					absent := v.Rule == "unknown-field" && strings.Contains(v.Message, "is not in Kubernetes "+version) ||
						v.Rule == "not-served" || v.Rule == "removed-api"
					if !absent || version == apiserver.Native {
						t.Errorf("%s: %s: %s [%s]", c.Name(), v.Path, v.Message, v.Rule)
					}
				}
				if _, err := rules.Stored(nil, o); err != nil {
					t.Errorf("%s: stored form: %v", c.Name(), err)
				}
			}
			if asked < 500 {
				t.Errorf("only %d objects were asked about", asked)
			}
		})
	}
}

// The rules of the next version are those of the table's, with its fields. A real API server of it takes the same objects of a sample
// and stores the same; for what it refuses it may name other fields than the rules do.
func TestTheNextAPIServerTakesTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	rules, err := apiserver.New(controlplane.Next)
	if err != nil {
		t.Fatal(err)
	}
	known := known(t)
	var sample []conformance.Case
	for i, c := range cases(t) {
		if c.Change != "" && i%20 != 0 || c.Old != nil || len(c.CRDs) > 0 || known[c.Name()] {
			continue
		}
		sample = append(sample, c)
	}
	answers, err := server(t.Context(), t, controlplane.Next).Ask(t.Context(), sample)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i, c := range sample {
		status := answers[i].Status
		count[status]++
		if a := rules.Admit(nil, policies.NewObject(c.Object, policies.Origin{}, nil, nil), nil); (status == "Invalid" || status == "BadRequest") && a.Err == nil && len(a.Violations) > 0 {
			continue
		}
		diff := slices.DeleteFunc(conformance.Compare(rules, c, answers[i]), func(line string) bool {
			return c.Object["kind"] == "CSINode" && line == "stored: only the API server: + status {}" // which nobody declares
		})
		if len(diff) > 0 {
			t.Errorf("%s:\n\t%s", c.Name(), strings.Join(diff, "\n\t"))
		}
	}
	t.Log(count)
	if count[conformance.Taken] < 400 {
		t.Error("too few objects are taken")
	}
}
