package conformance

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Entry is a line of the table: what the API server says of one case.
type Entry struct {
	Sum    string // of the case (Case.Sum)
	Answer Answer
}

// Table reads the answers of the real API server, by the name of the case.
func Table() (map[string]Entry, error) {
	table := map[string]Entry{}
	err := fs.WalkDir(testdata, "testdata/table", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := testdata.ReadFile(path)
		if err != nil {
			return err
		}
		return readTable(string(text), table)
	})
	return table, err
}

// The table is text, so that a change of it can be read:
//
//	== apps/v1/Deployment/full                 a fixture, with the sum of the object and its answer
//	1f2e3d4c taken
//	+ spec.strategy.type "RollingUpdate"       what the API server adds (+), changes (~) or drops (-)
//	= drop spec.replicas                       a change of that fixture
//	5a6b7c8d taken
//	+ spec.replicas 1                          beyond what it does to the fixture …
//	! + spec.strategy.type "RollingUpdate"     … and not what it does to the fixture
//	= set spec.replicas
//	9e8f7a6b Invalid
//	FieldValueInvalid spec.replicas            what it is refused for
func readTable(text string, into map[string]Entry) error {
	base, name := "", ""
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			base = line[3:]
			name = base
		case strings.HasPrefix(line, "= "):
			name = base + " " + line[2:]
		default:
			e, open := into[name]
			if !open {
				sum, status, ok := strings.Cut(line, " ")
				if !ok {
					return fmt.Errorf("table line %d: %q: expected a sum and a status", i+1, line)
				}
				e = Entry{Sum: sum, Answer: Answer{Status: status}}
				if b, ok := into[base]; ok && name != base && status == Taken && b.Answer.Status == Taken {
					e.Answer.Stored = slices.Clone(b.Answer.Stored)
				}
				into[name] = e
				continue
			}
			switch {
			case e.Answer.Status != Taken:
				e.Answer.Causes = append(e.Answer.Causes, line)
			case strings.HasPrefix(line, "! "):
				gone := line[2:]
				e.Answer.Stored = slices.DeleteFunc(slices.Clone(e.Answer.Stored), func(s string) bool { return s == gone })
			default:
				e.Answer.Stored = append(slices.Clone(e.Answer.Stored), line)
			}
			into[name] = e
		}
	}
	for _, e := range into {
		slices.SortFunc(e.Answer.Stored, byPath)
	}
	return nil
}

func byPath(a, b string) int { return strings.Compare(a[2:], b[2:]) }

// WriteTable is the text of the table for the given cases, one file for each API group and version.
func WriteTable(cases []Case, answers []Answer) map[string]string {
	order := map[string][]int{}
	var bases []string
	for i, c := range cases {
		if _, known := order[c.Base]; !known {
			bases = append(bases, c.Base)
		}
		order[c.Base] = append(order[c.Base], i)
	}
	files := map[string]*strings.Builder{}
	for _, base := range bases {
		name := strings.ReplaceAll(base[:strings.LastIndex(base[:strings.LastIndex(base, "/")], "/")], "/", "_") + ".txt"
		b := files[name]
		if b == nil {
			b = &strings.Builder{}
			b.WriteString("# What the API server of Kubernetes says of the cases of package conformance. Written by its test with -update.\n")
			files[name] = b
		}
		fmt.Fprintf(b, "\n== %s\n", base)
		var ofBase Answer
		for _, i := range order[base] {
			c, a := cases[i], answers[i]
			if c.Change == "" {
				ofBase = a
			} else {
				fmt.Fprintf(b, "= %s\n", c.Change)
			}
			fmt.Fprintf(b, "%s %s\n", c.Sum(), a.Status)
			for _, cause := range a.Causes {
				fmt.Fprintln(b, cause)
			}
			if a.Status != Taken {
				continue
			}
			if c.Change == "" || ofBase.Status != Taken {
				for _, line := range a.Stored {
					fmt.Fprintln(b, line)
				}
				continue
			}
			for _, line := range a.Stored {
				if !slices.Contains(ofBase.Stored, line) {
					fmt.Fprintln(b, line)
				}
			}
			for _, line := range ofBase.Stored {
				if !slices.Contains(a.Stored, line) {
					fmt.Fprintln(b, "! "+line)
				}
			}
		}
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out[name] = files[name].String()
	}
	return out
}

// Changed lists how an answer differs from that of the table.
func Changed(table, now Answer) []string {
	if table.Status != now.Status {
		return []string{fmt.Sprintf("table: %s %s", table.Status, strings.Join(table.Causes, "; ")), fmt.Sprintf("now: %s %s", now.Status, strings.Join(now.Causes, "; "))}
	}
	var out []string
	for _, pair := range []struct{ was, is []string }{{table.Causes, now.Causes}, {table.Stored, now.Stored}} {
		for _, line := range pair.was {
			if !slices.Contains(pair.is, line) {
				out = append(out, "table: "+line)
			}
		}
		for _, line := range pair.is {
			if !slices.Contains(pair.was, line) {
				out = append(out, "now: "+line)
			}
		}
	}
	return out
}
