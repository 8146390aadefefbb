package schema_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/schema"
)

// What SOPS has encrypted is judged as what its reconciler will make of it, as far as that can be told.
func TestWhatSOPSEncryptedIsNoMistakeOfForm(t *testing.T) {
	t.Parallel()
	const value = "ENC[AES256_GCM,data:4bUc,iv:q1w2,tag:e3R4==,type:str]"
	const sops = "sops: {mac: \"" + value + "\", version: 3.9.0, lastmodified: \"2026-01-01T00:00:00Z\"}\n"
	r := rules(t)
	made := compile(t, schema.Options{Rules: r})
	for _, c := range []struct{ name, text, want string }{
		{"data", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {p: \"" + value + "\"}\n" + sops, ""},
		{"stringData", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: \"" + value + "\"}\n" + sops, ""},
		{"a ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {p: \"" + value + "\"}\n" + sops, ""},
		{"a value beside it that is no base64", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  p: \"" + value + "\"\n  q: hunter2!\n" + sops, "schema/type 6:6 data.q"},
		{"a value that only looks like it", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  p: \"ENC[hunter2]\"\n" + sops, "schema/type 5:6 data.p"},
		{"another unknown field", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nother: {}\n" + sops, "schema/unknown-field 4:1 unknown field other"},
		{"without what SOPS says of it", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nsops: {}\n", "schema/unknown-field 4:1 unknown field sops"},
	} {
		set := policies.NewSet()
		lines, _ := verdicts(t, made, set, objects(t, r, set, c.text)...)
		got := strings.Join(lines, "\n")
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: got %q, expected %q", c.name, got, c.want)
		}
	}
}
