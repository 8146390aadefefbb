package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"gitgate.dev/gitgate/apiserver"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/kyverno/clitest"
	"gitgate.dev/gitgate/policytest"
)

// kyverno runs a test of the Kyverno CLI.
func (t *policyTests) kyverno(ctx context.Context, file string, test *policies.Object) []policytest.Result {
	rules, err := apiserver.New(t.flags.kubernetes)
	if err != nil {
		pos := policies.Position{File: file}
		return []policytest.Result{{Sort: "kyverno", Name: file, Pos: pos, Outcome: policytest.Errored, Problems: []policytest.Problem{{Pos: pos, Message: err.Error()}}}}
	}
	outcomes := map[clitest.Outcome]policytest.Outcome{
		clitest.Passed: policytest.Passed, clitest.Skipped: policytest.Skipped, clitest.Failed: policytest.Failed, clitest.Errored: policytest.Errored,
	}
	var out []policytest.Result
	for _, r := range clitest.Run(ctx, kyvernoTests(t.kyvernoOptions(), rules), file, test) {
		one := policytest.Result{Sort: "kyverno", Name: r.Name, Pos: r.Pos, Outcome: outcomes[r.Outcome]}
		for _, p := range r.Problems {
			for _, e := range flattened(p) {
				problem := policytest.Problem{Pos: r.Pos, Message: e.Error()}
				var placed *policies.PositionError
				if errors.As(e, &placed) {
					problem = policytest.Problem{Pos: placed.Pos, Message: placed.Err.Error()}
				}
				one.Problems = append(one.Problems, problem)
			}
		}
		out = append(out, one)
	}
	return out
}

func (t *policyTests) kyvernoTest(file string, text []byte) *policies.Object {
	return clitest.Document(t.kyvernoOptions(), file, text)
}

// kyvernoOptions reads what tests name.
func (t *policyTests) kyvernoOptions() clitest.Options {
	return clitest.Options{
		Read: func(file string) ([]byte, error) { return policytest.Read(file) },
		List: func(folder string) ([]string, error) {
			info, err := os.Stat(t.p.abs(folder))
			if err != nil || !info.IsDir() {
				return nil, err
			}
			files := []string{}
			err = filepath.WalkDir(t.p.abs(folder), func(name string, entry fs.DirEntry, err error) error {
				switch {
				case err != nil:
					return err
				case name != t.p.abs(folder) && strings.HasPrefix(entry.Name(), "."):
					if entry.IsDir() {
						return fs.SkipDir
					}
				case entry.Type().IsRegular() && (path.Ext(name) == ".yaml" || path.Ext(name) == ".yml"):
					rel, err := filepath.Rel(t.p.abs(folder), name)
					if err != nil {
						return err
					}
					files = append(files, path.Join(folder, filepath.ToSlash(rel)))
				}
				return nil
			})
			return files, err
		},
		Decode: func(file string, text []byte, resources bool) ([]*policies.Object, error) {
			objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
			var errs []error
			for _, p := range problems {
				if resources && p.Rule == manifest.RuleDuplicateKey {
					continue
				}
				errs = append(errs, policies.ErrorAt(p.Pos, errors.New(p.Message)))
			}
			return objects, errors.Join(errs...)
		},
	}
}
