package apiserver

import (
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/verdicts"
)

func TestVerdictsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	cases, err := verdicts.All()
	if err != nil {
		t.Fatal(err)
	}
	r := rules(t)
	for _, c := range cases {
		t.Run(strings.TrimSuffix(c.File, ".yaml")+"/"+c.Name, func(t *testing.T) {
			t.Parallel()
			o := policies.NewObject(c.Object, policies.Origin{}, nil, nil)
			var old *policies.Object
			if c.Old != nil {
				old = policies.NewObject(c.Old, policies.Origin{}, nil, nil)
			}
			a := r.Admit(nil, o, old)
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			if !a.Known {
				t.Fatalf("%s is not known", o.Kind)
			}
			var got []string
			for _, v := range a.Violations {
				got = append(got, v.Path.String()+" ["+v.Rule+"]")
			}
			want := slices.Clone(c.Want)
			slices.Sort(got)
			slices.Sort(want)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q\n%s", got, want, said(a.Violations))
			}
			for _, w := range c.Warn {
				if !strings.Contains(said(a.Warnings), w) {
					t.Errorf("warnings %q: want %q", said(a.Warnings), w)
				}
			}
			if c.Old == nil && len(c.Want) == 0 {
				if _, err := r.Stored(nil, o); err != nil {
					t.Errorf("stored: %v", err)
				}
			}
		})
	}
}
