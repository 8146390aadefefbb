package conformance_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/test/conformance"
)

// known reads testdata/known.txt: the cases in which the rules and the API server differ, each under the reason why.
func known(t *testing.T) map[string]bool {
	t.Helper()
	f, err := os.Open("testdata/known.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			names[line] = true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTheRulesSayWhatTheAPIServerSays(t *testing.T) {
	t.Parallel()
	rules, err := apiserver.New("1.36")
	if err != nil {
		t.Fatal(err)
	}
	table, err := conformance.Table()
	if err != nil {
		t.Fatal(err)
	}
	known := known(t)
	differences := 0
	for _, c := range cases(t) {
		entry, ok := table[c.Name()]
		if !ok || entry.Sum != c.Sum() {
			t.Fatalf("%s: the table is of other objects; write it anew with -update", c.Name())
		}
		diff := conformance.Compare(rules, c, entry.Answer)
		switch {
		case len(diff) == 0 && known[c.Name()]:
			t.Errorf("%s: the rules say what the API server says; take the case out of testdata/known.txt", c.Name())
		case len(diff) > 0 && known[c.Name()]:
			differences++
		case len(diff) > 0:
			t.Errorf("%s:\n\t%s", c.Name(), strings.Join(diff, "\n\t"))
		}
		delete(known, c.Name())
	}
	for name := range known {
		t.Errorf("testdata/known.txt: no case is named %q", name)
	}
	t.Logf("%d objects; %d differences, all known", len(table), differences)
}
