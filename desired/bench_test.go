package desired_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/trace"
	"gitgate.dev/gitgate/test/gen"
	"gitgate.dev/gitgate/test/gitserver"
)

const benchUnits = 500

// monorepo makes a repository of n objects in 500 units.
func monorepo(b *testing.B, n int) (*gitserver.Repo, string) {
	b.Helper()
	r := gitserver.NewRepo(b)
	if _, err := gen.WriteFlux(r.Dir, n, benchUnits); err != nil {
		b.Fatal(err)
	}
	return r, r.Commit("all", nil)
}

// cpu is the processor time of this process and its children so far, in milliseconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	total := 0.0
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		total += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
	}
	return total
}

// measured reports the processor time of f, for each of the n things that it does; n is asked for afterwards.
func measured(b *testing.B, n func() int, f func()) {
	before := cpu(b)
	f()
	b.ReportMetric((cpu(b)-before)/float64(n()), "cpu-ms/op")
}

func loops(b *testing.B) func() int { return func() int { return b.N } }

// edit changes one file of a unit and commits it.
func edit(b *testing.B, r *gitserver.Repo, unit, i int) string {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(r.Dir, gen.FluxUnit(unit), "*-deployment.yaml"))
	if err != nil || len(names) == 0 {
		b.Fatalf("no deployment in unit %d: %v", unit, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		b.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for j, line := range lines {
		if strings.HasPrefix(line, "  replicas: ") {
			lines[j] = fmt.Sprintf("  replicas: %d", 100+i)
		}
	}
	if err := os.WriteFile(names[0], []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		b.Fatal(err)
	}
	r.Git("commit", "--quiet", "-am", fmt.Sprint("edit ", i))
	return r.Git("rev-parse", "HEAD")
}

// BenchmarkColdIndex compares an index from nothing with what kustomize and parsing alone cost on the same files.
func BenchmarkColdIndex(b *testing.B) {
	r, head := monorepo(b, 10_000)
	o := options(b, r)
	b.Run("kustomize and parsing alone", func(b *testing.B) {
		measured(b, loops(b), func() {
			for b.Loop() {
				files, err := tree.Load(b.Context(), o.Sources[0].Repo, git.Hash(head))
				if err != nil {
					b.Fatal(err)
				}
				for unit := range benchUnits {
					v := files.View()
					if _, err := kustomize.Build(b.Context(), v, gen.FluxUnit(unit), true, nil); err != nil {
						b.Fatal(err)
					}
					names, err := v.Files(b.Context(), gen.FluxUnit(unit))
					if err != nil {
						b.Fatal(err)
					}
					for _, name := range names {
						text, err := v.ReadFile(b.Context(), name)
						if err != nil {
							b.Fatal(err)
						}
						manifest.Decode(name, text, manifest.DefaultLimits())
					}
				}
			}
		})
	})
	b.Run("index", func(b *testing.B) {
		measured(b, loops(b), func() {
			for b.Loop() {
				x, err := desired.NewIndex(o)
				if err != nil {
					b.Fatal(err)
				}
				if err := x.Advance(b.Context(), "fleet", git.Hash(head)); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkCommit is what a commit of one file costs an index of 10,000 objects, in time and in memory that stays.
func BenchmarkCommit(b *testing.B) {
	r, head := monorepo(b, 10_000)
	o := options(b, r)
	o.History.Commits = 1 << 20
	x, err := desired.NewIndex(o)
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	if err := x.Advance(b.Context(), "fleet", git.Hash(head)); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d objects, %.0f bytes each", 10_000, float64(heap()-before)/10_000)
	if p := x.Problems(); len(p) > 0 {
		b.Fatalf("problems: %v", p[0])
	}
	commits := make([]string, 0, 100)
	for unit := 0; len(commits) < cap(commits); unit = (unit + 1) % benchUnits {
		if names, _ := filepath.Glob(filepath.Join(r.Dir, gen.FluxUnit(unit), "*-deployment.yaml")); len(names) > 0 {
			commits = append(commits, edit(b, r, unit, len(commits)))
		}
	}
	i := 0
	for ; i < 10; i++ { // what is made once
		if err := x.Advance(b.Context(), "fleet", git.Hash(commits[i])); err != nil {
			b.Fatal(err)
		}
	}
	before = heap()
	b.ResetTimer()
	measured(b, func() int { return len(commits) - 10 }, func() {
		for ; i < len(commits); i++ {
			if err := x.Advance(b.Context(), "fleet", git.Hash(commits[i])); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(heap()-before)/float64(len(commits)-10), "bytes/commit")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(len(commits)-10), "ms/commit")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLookup is a look-up of a Deployment and its comparison in full.
func BenchmarkLookup(b *testing.B) {
	r := gitserver.NewRepo(b)
	if _, err := gen.WriteFlux(r.Dir, 400, 20); err != nil {
		b.Fatal(err)
	}
	x := index(b, r, nil)
	advance(b, x, r.Commit("all", nil))
	var key policies.Key
	for k := range x.State().Keys() {
		if k.Kind == "Deployment" && (key.Name == "" || k.Name < key.Name) {
			key = k
		}
	}
	live, err := x.Lookup(key)[0].Object.Stored()
	if err != nil {
		b.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		each func()
	}{{"held by nobody", runtime.GC}, {"again", func() {}}} {
		b.Run(tc.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				if n++; n%1000 == 0 {
					b.StopTimer()
					tc.each()
					b.StartTimer()
				}
				stored, err := x.Lookup(key)[0].Object.Stored()
				if err != nil {
					b.Fatal(err)
				}
				if d := trace.Compare(trace.Content{Declared: stored, New: live, Old: live}); len(d) > 0 {
					b.Fatal(d)
				}
			}
		})
	}
}

// BenchmarkPullRequest is what a process of its own spends on a pull request of one file, with a cache that knows the base.
func BenchmarkPullRequest(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n, " objects"), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("takes minutes to render once")
			}
			r, base := monorepo(b, n)
			unit := 0
			for {
				if names, _ := filepath.Glob(filepath.Join(r.Dir, gen.FluxUnit(unit), "*-deployment.yaml")); len(names) > 0 {
					break
				}
				unit++
			}
			head := edit(b, r, unit, 0)
			dir := b.TempDir()
			once := func() {
				o := options(b, r)
				var err error
				if o.Cache, err = desired.OpenCache(dir, 0); err != nil {
					b.Fatal(err)
				}
				renderer, err := desired.New(o)
				if err != nil {
					b.Fatal(err)
				}
				from, err := renderer.At(b.Context(), map[string]git.Hash{"fleet": git.Hash(base)}, nil)
				if err != nil {
					b.Fatal(err)
				}
				to, err := renderer.At(b.Context(), map[string]git.Hash{"fleet": git.Hash(head)}, from)
				if err != nil {
					b.Fatal(err)
				}
				if changes, err := desired.Changes(b.Context(), from, to); err != nil || len(changes) != 1 {
					b.Fatalf("%d changes, %v", len(changes), err)
				}
				if err := o.Sources[0].Repo.Close(); err != nil {
					b.Fatal(err)
				}
			}
			once()
			b.ResetTimer()
			measured(b, loops(b), func() {
				for b.Loop() {
					once()
				}
			})
		})
	}
}
