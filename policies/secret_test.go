package policies_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

func TestNoMessageAboutASecretRepeatsItsValues(t *testing.T) {
	t.Parallel()
	secret := func(field string, value any) *policies.Object {
		return object("Secret", "", map[string]any{field: map[string]any{"password": value}})
	}
	const key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
	for _, c := range []struct {
		name          string
		object        *policies.Object
		message, want string
	}{
		{"as it is written", secret("data", "aHVudGVyMg=="), "password aHVudGVyMg== is weak", "password *** is weak"},
		{"decoded", secret("data", "aHVudGVyMg=="), "password hunter2 is weak", "password *** is weak"},
		{"not encoded at all", secret("data", "hunter2!"), `"hunter2!" is not base64`, `"***" is not base64`},
		{"from stringData", secret("stringData", "hunter2"), "hunter2, hunter2", "***, ***"},
		{"quoted", secret("stringData", "a\tb\"c"), `value is "a\tb\"c"`, `value is "***"`},
		{"a number where text belongs", secret("stringData", int64(735271)), "735271 is a number", "*** is a number"},
		{"nested where text belongs", secret("data", map[string]any{"a": []any{"hunter2"}}), "map[a:[hunter2]]", "map[a:[***]]"},
		{"one line of many", secret("stringData", key), "starts with -----BEGIN PRIVATE KEY-----, then MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "starts with ***, then ***"},
		{"the longer of two first", object("Secret", "", map[string]any{"stringData": map[string]any{"a": "hunter", "b": "hunter2"}}), "hunter2", "***"},
		{"names and keys stay", secret("data", "aHVudGVyMg=="), "Secret shop/web has no key username beside password", "Secret shop/web has no key username beside password"},
		{"too short to be told from a word", secret("data", "a"), "a word", "a word"},
		{"another kind is left alone", object("ConfigMap", "", map[string]any{"data": map[string]any{"mode": "verbose"}}), "mode is verbose", "mode is verbose"},
		{"a Secret of another group is left alone", object("Secret", "example.com", map[string]any{"data": map[string]any{"mode": "verbose"}}), "mode is verbose", "mode is verbose"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			finding := policies.Finding{
				Violations: []policies.Violation{{Message: c.message, Fix: c.message}}, Evidence: []policies.Evidence{{Kind: "param", Value: c.message}},
			}
			d := engine(t, &policies.Policy{Name: "p", Judge: answering(finding, nil)}).Decide(t.Context(), creation(c.object, "secrets"))
			f := d.Results[0].Finding
			if f.Violations[0].Message != c.want || f.Violations[0].Fix != c.want || f.Evidence[0].Value != c.want {
				t.Errorf("got %q, %q and %q, expected %q", f.Violations[0].Message, f.Violations[0].Fix, f.Evidence[0].Value, c.want)
			}
			if finding.Violations[0].Message != c.message {
				t.Error("the policy's own finding was changed")
			}
			cause := fmt.Errorf("%s: %w", c.message, context.DeadlineExceeded)
			d = engine(t, &policies.Policy{Name: "p", Judge: answering(policies.Finding{}, cause)}).Decide(t.Context(), creation(c.object, "secrets"))
			err := d.Results[0].Err
			if want := c.want + ": context deadline exceeded"; err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got the error %q, expected %q that still is a deadline", err, want)
			}
			if c.want != c.message && !errors.Is(err, cause) {
				t.Error("the error no longer is what it was")
			}
		})
	}
}

func TestTheValuesThatASecretHadBeforeAreHiddenToo(t *testing.T) {
	t.Parallel()
	old := object("Secret", "", map[string]any{"stringData": map[string]any{"p": "hunter2"}})
	c := creation(object("Secret", "", map[string]any{"stringData": map[string]any{"p": "sesame"}}), "secrets")
	c.Operation, c.Old, c.Knows = policies.Update, old, policies.KnowsOld
	f := policies.Finding{Violations: []policies.Violation{{Message: "hunter2 became sesame"}}, Skipped: ""}
	d := engine(t, &policies.Policy{Name: "p", Judge: answering(f, nil)}).Decide(t.Context(), c)
	if got := d.Results[0].Finding.Violations[0].Message; strings.Contains(got, "hunter2") || strings.Contains(got, "sesame") {
		t.Errorf("got %q", got)
	}
}
