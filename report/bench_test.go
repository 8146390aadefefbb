package report

import (
	"io"
	"testing"

	"gitgate.dev/gitgate/policies"
)

// BenchmarkFormats writes a run of a thousand objects, one in six of them with something to tell.
func BenchmarkFormats(b *testing.B) {
	decisions, s := fleet()
	for _, format := range Formats() {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink, err := New(format, io.Discard, Options{})
				if err != nil {
					b.Fatal(err)
				}
				for i := range 1000 {
					d := decisions[i%len(decisions)]
					if i%len(decisions) != 1 {
						d = policies.Decision{Subject: d.Subject, Operation: d.Operation, Results: decisions[0].Results}
					}
					if err := sink.Decision(d); err != nil {
						b.Fatal(err)
					}
				}
				if err := sink.Close(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
