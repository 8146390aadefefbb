package validate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// The door's own cost over folders of one manifest a file, with a policy that costs nothing: time and the most memory in use,
// which must not grow with the number of files but for their names and identities.
func BenchmarkRun(b *testing.B) {
	text, err := os.ReadFile("../manifest/testdata/deployment.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			for i := range n {
				folder := filepath.Join(dir, fmt.Sprintf("%03d", i/1000))
				if i%1000 == 0 {
					if err := os.Mkdir(folder, 0o755); err != nil {
						b.Fatal(err)
					}
				}
				mine := fmt.Appendf(nil, "%s---\n%s", bytes.Replace(text, []byte("name: web"), fmt.Appendf(nil, "name: web-%d", i), 1), cm(fmt.Sprintf("x%d", i)))
				if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.yaml", i%1000)), mine, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			e := engine(b)
			peak := uint64(0)
			for b.Loop() {
				seen := 0
				_, err := Run(b.Context(), Options{Paths: []string{dir}, Engine: e, Rules: rules{}}, func(policies.Decision) error {
					if seen++; seen%1000 == 0 {
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapInuse)
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "us/file")
		})
	}
}
