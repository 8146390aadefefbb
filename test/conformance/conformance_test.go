package conformance_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/test/conformance"
	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/gen"
)

var update = flag.Bool("update", false, "write the table anew from a real API server")

func cases(t *testing.T) []conformance.Case {
	t.Helper()
	cases, err := conformance.Cases()
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// server starts a real API server without admission plugins, of a release or, for "", of that of the table.
func server(ctx context.Context, t *testing.T, release string) *conformance.Server {
	t.Helper()
	plugins := slices.Clone(conformance.Plugins)
	if release == controlplane.Next { // which has these no more
		plugins = slices.DeleteFunc(plugins, func(name string) bool { return name == "PodGroupWorkloadExists" || name == "JobValidation" })
	}
	cp := controlplane.Start(ctx, t, controlplane.Options{Release: release, APIServer: []string{
		"--disable-admission-plugins=" + strings.Join(plugins, ","),
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=100",
		"--max-mutating-requests-inflight=100",
		"--watch-cache=false",
	}})
	client, err := cp.HTTPClient("root", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	return &conformance.Server{URL: cp.Endpoint(), Client: client}
}

func TestTheTableIsWhatTheAPIServerSays(t *testing.T) {
	if testing.Short() && !*update {
		t.Skip("starts a real API server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cases := cases(t)
	server := server(ctx, t, "")
	kinds, err := server.Kinds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if !slices.ContainsFunc(cases, func(c conformance.Case) bool { return c.Base == kind+"/minimal" }) {
			t.Errorf("%s is served and has no fixture in testdata/good", kind)
		}
	}
	start := time.Now()
	answers, err := server.Ask(ctx, cases)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a real API server judged %d objects in %s", len(cases), time.Since(start).Round(time.Second))
	if *update {
		for name, text := range conformance.WriteTable(cases, answers) {
			if err := os.WriteFile(filepath.Join("testdata", "table", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	table, err := conformance.Table()
	if err != nil {
		t.Fatal(err)
	}
	if len(table) != len(cases) {
		t.Errorf("the table has %d entries for %d cases; write it anew with -update", len(table), len(cases))
	}
	for i, c := range cases {
		entry := table[c.Name()]
		if entry.Sum != c.Sum() {
			t.Fatalf("%s: the table is of other objects; write it anew with -update", c.Name())
		}
		if diff := conformance.Changed(entry.Answer, answers[i]); len(diff) > 0 {
			t.Errorf("%s: the API server does not say what the table says:\n\t%s", c.Name(), strings.Join(diff, "\n\t"))
		}
	}
}

func TestTheAPIServerTakesTheGeneratedTree(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	var cases []conformance.Case
	for m := range gen.Manifests(2000) {
		c, err := conformance.Read(m.Path, []byte(m.Text))
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	answers, err := server(ctx, t, "").Ask(ctx, cases)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Status != conformance.Taken {
			t.Errorf("%s: %s %v", cases[i].Name(), a.Status, a.Causes)
		}
	}
}

var (
	random = flag.Int("random", 5000, "how many random objects to compare with a real API server")
	seed   = flag.Uint64("seed", 1, "what the random objects are made of")
)

func TestTheRulesSayWhatTheAPIServerSaysOfRandomObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Minute)
	defer cancel()
	cases, err := conformance.Random(*seed, *random)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := server(ctx, t, "").Ask(ctx, cases)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i, c := range cases {
		count[answers[i].Status]++
		if diff := conformance.Compare(rules, c, answers[i]); len(diff) > 0 {
			object, _ := json.Marshal(c.Object)
			t.Errorf("%s:\n\t%s\n\t%s", c.Name(), strings.Join(diff, "\n\t"), object)
		}
	}
	t.Log(count)
}
