package policytest

import (
	"context"
	"fmt"
	"os"
	"slices"

	"gitgate.dev/gitgate/policies"
)

// set is fixtures that are judged together, as one change set.
type set struct {
	folder string // whose policies judge
	name   string
	files  []string
	only   string // "ok", "bad", or "": each file is then a test of its own
}

func (s *set) run(ctx context.Context, o *Options) []Result {
	wants := map[string][]want{}
	var wrong []Problem
	for _, file := range s.files {
		text, err := os.ReadFile(file)
		if err != nil {
			wrong = append(wrong, problemsOf(file, err)...)
			continue
		}
		w, problems := readWants(file, text)
		wants[file], wrong = w, append(wrong, problems...)
	}
	if len(wrong) > 0 {
		return []Result{s.errored(wrong)}
	}
	found, err := o.Judge(ctx, s.folder, s.files)
	if err != nil {
		return []Result{s.errored(problemsOf(s.name, err))}
	}
	by := map[string][]Found{}
	for _, f := range found {
		if !slices.Contains(s.files, f.File) {
			return []Result{s.errored([]Problem{{policies.Position{File: f.File, Line: f.Line}, f.Text}})}
		}
		by[f.File] = append(by[f.File], f)
	}
	if s.only != "" {
		return []Result{s.whole(wants, by)}
	}
	var out []Result
	for _, file := range s.files {
		out = append(out, result(file, wants[file], by[file]))
	}
	return out
}

// whole is the result of what lies in a folder ok or bad, as one test. What is bad and says where is compared as any fixture.
func (s *set) whole(wants map[string][]want, by map[string][]Found) Result {
	wanted, found := 0, 0
	out := Result{Sort: "fixture", Name: s.name, Pos: policies.Position{File: s.name}, Outcome: Passed}
	for _, file := range s.files {
		wanted, found = wanted+len(wants[file]), found+len(by[file])
	}
	for _, file := range s.files {
		if s.only == "bad" && wanted == 0 && !slices.ContainsFunc(by[file], func(f Found) bool { return f.Error }) {
			continue
		}
		r := result(file, wants[file], by[file])
		out.Outcome, out.Problems = max(out.Outcome, r.Outcome), append(out.Problems, r.Problems...)
	}
	if s.only == "bad" && found == 0 && wanted == 0 {
		out.Outcome = Failed
		out.Problems = []Problem{{policies.Position{File: s.files[0], Line: 1}, fmt.Sprintf("expected a finding on %s, which is in a folder bad, got none", s.name)}}
	}
	return out
}

func result(file string, wants []want, found []Found) Result {
	r := Result{Sort: "fixture", Name: file, Pos: policies.Position{File: file}, Outcome: Passed}
	if r.Problems = compare(file, wants, found); len(r.Problems) == 0 {
		return r
	}
	r.Outcome = Failed
	if slices.ContainsFunc(found, func(f Found) bool {
		return f.Error && !slices.ContainsFunc(wants, func(w want) bool { return w.line == f.Line && w.pattern.MatchString(f.Text) })
	}) {
		r.Outcome = Errored
	}
	return r
}

func (s *set) errored(problems []Problem) Result {
	return Result{Sort: "fixture", Name: s.name, Pos: policies.Position{File: s.name}, Outcome: Errored, Problems: problems}
}
