package apiserver

import (
	"testing"

	"gitgate.dev/gitgate/policies"
)

// BenchmarkCustomResource judges one custom resource after another by a CRD that is compiled already.
func BenchmarkCustomResource(b *testing.B) {
	set, r := crdSet(b, certificatesCRD), rules(b)
	written := parse(b, goodCertificate).Map()
	b.ReportAllocs()
	for b.Loop() {
		o := policies.NewObject(written, policies.Origin{}, nil, nil)
		if a := r.Admit(set, o, nil); len(a.Violations) > 0 || a.Err != nil {
			b.Fatal(a)
		}
		if _, err := r.Stored(set, o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompileCRD makes a version of a CRD ready to judge: what the first object of a kind pays.
func BenchmarkCompileCRD(b *testing.B) {
	r := rules(b)
	for b.Loop() {
		set := crdSet(b, certificatesCRD)
		if a := r.Admit(set, parse(b, goodCertificate), nil); len(a.Violations) > 0 || a.Err != nil {
			b.Fatal(a)
		}
	}
}

// BenchmarkOtherVersion judges a Deployment for a version of Kubernetes whose code is not compiled in.
func BenchmarkOtherVersion(b *testing.B) {
	written := parse(b, webDeployment).Map()
	for _, version := range []string{Native, "1.34"} {
		b.Run(version, func(b *testing.B) {
			r, err := New(version)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				o := policies.NewObject(written, policies.Origin{}, nil, nil)
				if a := r.Admit(nil, o, nil); len(a.Violations) > 0 || a.Err != nil {
					b.Fatal(a)
				}
				if _, err := r.Stored(nil, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
