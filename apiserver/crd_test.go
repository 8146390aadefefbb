package apiserver

import (
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
)

//go:embed testdata/certificates-crd.yaml
var certificatesCRD string

// crdSet is a change set of the CRDs of a text.
func crdSet(t testing.TB, text string) *policies.Set {
	t.Helper()
	var objects []*policies.Object
	for doc := range strings.SplitSeq(text, "\n---\n") {
		objects = append(objects, parse(t, doc))
	}
	return policies.NewSet(objects...)
}

const goodCertificate = `
apiVersion: certs.example.com/v1
kind: Certificate
metadata: {name: web, namespace: shop, labels: {app.kubernetes.io/name: web}}
spec:
  secretName: web-tls
  issuerRef: {name: ca}
  dnsNames: [example.com, www.example.com]
  additionalOutputs: [{type: DER}, {type: Keystore, format: PKCS12}]
  maxUnavailable: 25%
  labels: {a.b/c: d}
  options: {anything: [goes, {here: 1}]}
  template: {apiVersion: v1, kind: Secret, metadata: {labels: {x: "y"}}, whatever: true}
`

// spec is goodCertificate with some of its spec replaced.
func certificate(spec string) string {
	return "{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: web}, spec: " + spec + "}"
}

func TestACustomResourceIsJudgedByItsCRD(t *testing.T) {
	t.Parallel()
	set := crdSet(t, certificatesCRD)
	for _, c := range []struct {
		name, object, old string
		want, warnings    []string // "path [rule] message (fix)"
		err               string
	}{
		{name: "a good one passes", object: goodCertificate},
		{name: "an unknown field is refused, and guessed", object: certificate(`{secretName: a, issuerRef: {name: ca}, dnsName: [a]}`),
			want: []string{`spec.dnsName [unknown-field] unknown field spec.dnsName (did you mean "dnsNames"?)`}},
		{name: "an unknown field in a list of maps is located", object: certificate(`{secretName: a, issuerRef: {name: ca}, additionalOutputs: [{type: DER}, {type: X, fromat: PEM}]}`),
			want: []string{`spec.additionalOutputs[1].fromat [unknown-field] unknown field spec.additionalOutputs[1].fromat (did you mean "format"?)`}},
		{name: "an unknown field at the root is refused", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: web}, sepc: {}, spec: {secretName: a, issuerRef: {name: ca}}}`,
			want: []string{`sepc [unknown-field] unknown field sepc`}},
		{name: "an unknown field whose name has dots is one field", object: certificate(`{secretName: a, issuerRef: {name: ca}, a.b: 1}`),
			want: []string{`spec[a.b] [unknown-field] unknown field spec[a.b]`}},
		{name: "what the schema leaves free is free", object: certificate(`{secretName: a, issuerRef: {name: ca}, options: {x: {y: z}}}`)},
		{name: "a described field inside a free part keeps its type", object: certificate(`{secretName: a, issuerRef: {name: ca}, options: {size: big}}`),
			want: []string{`spec.options.size [type] spec.options.size: expected integer, got string "big"`}, warnings: []string{notAsked}},
		{name: "required fields are missed", object: certificate(`{}`),
			want: []string{`spec.issuerRef [required] spec.issuerRef is required`, `spec.secretName [required] spec.secretName is required`}, warnings: []string{notAsked}},
		{name: "wrong types are told with what is there", object: certificate(`{secretName: 5, issuerRef: [ca], copies: two}`),
			want: []string{
				`spec.copies [type] spec.copies: expected integer, got string "two"`,
				`spec.issuerRef [type] spec.issuerRef: expected a map, got a list`,
				`spec.secretName [type] spec.secretName: expected string, got integer 5`}, warnings: []string{notAsked}},
		{name: "int-or-string refuses a boolean", object: certificate(`{secretName: a, issuerRef: {name: ca}, maxUnavailable: true}`),
			want: []string{`spec.maxUnavailable [type] spec.maxUnavailable: expected integer or string, got boolean true`}, warnings: []string{notAsked}},
		{name: "bounds, patterns, formats and lengths hold", object: certificate(`{secretName: "", issuerRef: {name: ca}, copies: 11, duration: soon}`),
			want: []string{
				`spec.copies [invalid] spec.copies: invalid value 11: should be less than or equal to 10`,
				`spec.duration [type] spec.duration: expected duration, got string "soon"`,
				`spec.secretName [invalid] spec.secretName: invalid value "": should be at least 1 chars long`}, warnings: []string{notAsked}},
		{name: "enums hold, and the nearest value is guessed", object: certificate(`{secretName: a, issuerRef: {name: ca}, usages: [server auth, client-auth]}`),
			want: []string{`spec.usages[1] [not-supported-value] spec.usages[1]: unsupported value "client-auth": expected one of "digital signature", "key encipherment", "server auth", "client auth" (did you mean "client auth"?)`}, warnings: []string{notAsked}},
		{name: "a set has each value once", object: certificate(`{secretName: a, issuerRef: {name: ca}, dnsNames: [a.example, b.example, a.example]}`),
			want: []string{`spec.dnsNames[2] [duplicate] spec.dnsNames[2] is a duplicate: "a.example"`}},
		{name: "a list map has each key once", object: certificate(`{secretName: a, issuerRef: {name: ca}, additionalOutputs: [{type: DER}, {type: DER, format: X}]}`),
			want: []string{`spec.additionalOutputs[1] [duplicate] spec.additionalOutputs[1] is a duplicate`}},
		{name: "a CEL rule is asked after defaults, and points at its fieldPath", object: certificate(`{secretName: a, issuerRef: {name: ca}, renewBefore: 3000h}`),
			want: []string{`spec.renewBefore [invalid] spec.renewBefore: invalid value "3000h": renewBefore must be shorter than duration`}},
		{name: "a CEL rule of a list's items makes its own message", object: certificate(`{secretName: a, issuerRef: {name: ca}, additionalOutputs: [{type: DER}, {type: Keystore}]}`),
			want: []string{`spec.additionalOutputs[1] [invalid] spec.additionalOutputs[1]: a keystore is not PEM`}},
		{name: "a transition rule is not asked without the old object", object: certificate(`{secretName: a, issuerRef: {name: other}}`)},
		{name: "a transition rule is asked with the old object", object: certificate(`{secretName: a, issuerRef: {name: other}}`), old: goodCertificate,
			want: []string{`spec [immutable] spec cannot be changed: the issuer of a certificate is immutable (keep the old value, or delete the object and create it anew)`}},
		{name: "what was wrong before and did not change is let through", object: certificate(`{secretName: BAD, issuerRef: {name: ca}, copies: 2}`), old: certificate(`{secretName: BAD, issuerRef: {name: ca}}`)},
		{name: "what was wrong before and did change is refused", object: certificate(`{secretName: WORSE, issuerRef: {name: ca}}`), old: certificate(`{secretName: BAD, issuerRef: {name: ca}}`),
			want: []string{`spec.secretName [invalid] spec.secretName: invalid value "WORSE": should match '^[a-z0-9.-]+$'`}},
		{name: "what replaces an object that could not be read is created", object: certificate(`{secretName: a, issuerRef: {name: other}}`),
			old: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: web, labels: [a]}, spec: {secretName: a, issuerRef: {name: ca}}}`},
		{name: "a name that is none is refused", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: Web_1}, spec: {secretName: a, issuerRef: {name: ca}}}`,
			want: []string{`metadata.name [invalid] metadata.name: invalid value "Web_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{name: "a generated name is a name", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {generateName: web-}, spec: {secretName: a, issuerRef: {name: ca}}}`},
		{name: "no name at all is refused", object: `{apiVersion: certs.example.com/v1, kind: Certificate, spec: {secretName: a, issuerRef: {name: ca}}}`,
			want: []string{`metadata.name [required] metadata.name is required: name or generateName is required`}, warnings: []string{notAsked}},
		{name: "a label that is no string is located", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: web, labels: {a.b/c: 1}, lables: {}}, spec: {secretName: a, issuerRef: {name: ca}}}`,
			want: []string{`metadata.labels[a.b/c] [type] metadata.labels[a.b/c]: expected string, got integer 1`, `metadata.lables [unknown-field] unknown field metadata.lables`}},
		{name: "an embedded object has metadata of an object", object: certificate(`{secretName: a, issuerRef: {name: ca}, template: {apiVersion: v1, kind: Secret, metadata: {lables: {}}}}`),
			want: []string{`spec.template.metadata.lables [unknown-field] unknown field spec.template.metadata.lables`}},
		{name: "an embedded object's metadata is located", object: certificate(`{secretName: a, issuerRef: {name: ca}, template: {apiVersion: v1, kind: Secret, metadata: {name: 5, labels: {a: b}}}}`),
			want: []string{`spec.template.metadata.name [type] spec.template.metadata.name: expected string, got integer 5`}},
		{name: "an embedded object has a kind", object: certificate(`{secretName: a, issuerRef: {name: ca}, template: {apiVersion: v1}}`),
			want: []string{`spec.template.kind [required] spec.template.kind is required`}, warnings: []string{notAsked}},
		{name: "nulls of fields that are not nullable are nothing", object: certificate(`{secretName: a, issuerRef: {name: ca}, commonName: null, renewBefore: null, duration: null}`)},
		{name: "status is not written with the object", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {name: web}, spec: {secretName: a, issuerRef: {name: ca}}, status: {copies: many}}`},
		{name: "a deprecated version is warned of, with the one to use", object: strings.Replace(goodCertificate, "/v1", "/v1beta1", 1),
			warnings: []string{`apiVersion [deprecated] certs.example.com/v1beta1 Certificate is deprecated (use certs.example.com/v1)`}},
		{name: "a deprecated version is warned of in the words of its CRD", object: strings.Replace(goodCertificate, "/v1", "/v1alpha1", 1),
			warnings: []string{`apiVersion [deprecated] certs.example.com/v1alpha1 Certificate goes away in release 2`}},
		{name: "a version that is not served is refused", object: strings.Replace(goodCertificate, "/v1", "/v0", 1),
			want: []string{`apiVersion [not-served] apiVersion certs.example.com/v0 is not served by CustomResourceDefinition certificates.certs.example.com (use certs.example.com/v1, certs.example.com/v1beta1 or certs.example.com/v1alpha1)`}},
		{name: "a version that is not there is refused", object: strings.Replace(goodCertificate, "/v1", "/v9", 1),
			want: []string{`apiVersion [not-served] apiVersion certs.example.com/v9 is not served by CustomResourceDefinition certificates.certs.example.com (use certs.example.com/v1, certs.example.com/v1beta1 or certs.example.com/v1alpha1)`}},
		{name: "the old object may be of another version when nothing converts", object: certificate(`{secretName: a, issuerRef: {name: other}}`),
			old:  strings.Replace(certificate(`{secretName: a, issuerRef: {name: ca}}`), "/v1", "/v1beta1", 1),
			want: []string{`spec [immutable] spec cannot be changed: the issuer of a certificate is immutable (keep the old value, or delete the object and create it anew)`}},
		{name: "an old object that a webhook converts cannot be compared", object: `{apiVersion: certs.example.com/v2, kind: Issuer, metadata: {name: ca}, url: "https://b.example"}`,
			old:      `{apiVersion: certs.example.com/v1, kind: Issuer, metadata: {name: ca}, url: "https://a.example"}`,
			warnings: []string{`apiVersion [not-judged] the rules on how the object may change were not asked: the object before the change is in certs.example.com/v1, which only the conversion webhook of CustomResourceDefinition issuers.certs.example.com can convert`}},
		{name: "a finalizer without a domain is warned of", object: `{apiVersion: certs.example.com/v2, kind: Issuer, metadata: {name: ca, finalizers: [mine]}, url: "https://a.example"}`,
			warnings: []string{`metadata.finalizers [warning] metadata.finalizers: "mine": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers`}},
		{name: "a content that is no map is refused", object: `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: [], spec: 1}`,
			want: []string{`metadata [type] metadata: expected a map, got a list`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var old *policies.Object
			if c.old != "" {
				old = parse(t, c.old)
			}
			a := rules(t).Admit(set, parse(t, c.object), old)
			if !a.Known || a.Err != nil {
				t.Fatalf("known %v, error %v", a.Known, a.Err)
			}
			got := strings.Split(said(a.Violations), "\n")
			slices.Sort(got)
			want := append([]string{}, c.want...)
			slices.Sort(want)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("said\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if got, want := said(a.Warnings), strings.Join(c.warnings, "\n"); got != want {
				t.Errorf("warned\n%s\nexpected\n%s", got, want)
			}
			for _, w := range a.Warnings {
				if !w.Warning {
					t.Errorf("%q is among the warnings, but is none", w.Message)
				}
			}
		})
	}
}

const notAsked = ` [not-judged] the x-kubernetes-validations of the kind were not asked: they need an object without the errors told here`

func TestACustomResourceIsStoredWithItsDefaults(t *testing.T) {
	t.Parallel()
	set := crdSet(t, certificatesCRD)
	o := parse(t, `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {generateName: web-}, status: {copies: 1},
		spec: {secretName: a, commonName: null, duration: null, renewBefore: null, typo: 1, issuerRef: {name: ca}, additionalOutputs: [{type: DER}]}}`)
	before := fmt.Sprint(o.Map())
	got, err := rules(t).Stored(set, o)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{apiVersion: certs.example.com/v1, kind: Certificate, metadata: {generateName: web-},
		spec: {secretName: a, commonName: null, duration: 2160h, copies: 1, usages: [digital signature], issuerRef: {name: ca, kind: Issuer}, additionalOutputs: [{type: DER, format: PEM}]}}`).Map()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stored as\n%v, expected\n%v", got, want)
	}
	if a := rules(t).Admit(set, o, nil); len(a.Violations) != 1 {
		t.Errorf("violations: %s", said(a.Violations))
	}
	if again, _ := rules(t).Stored(set, o); !reflect.DeepEqual(again, want) {
		t.Error("judging the object changed its stored form")
	}
	if after := fmt.Sprint(o.Map()); after != before {
		t.Errorf("what was written changed from %s to %s", before, after)
	}
}

func TestASchemaOfAlternativesSaysWhereItIsBroken(t *testing.T) {
	t.Parallel()
	set := crdSet(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: doors.example.com}, spec: {group: example.com, scope: Cluster,
		names: {kind: Door, plural: doors}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {
			any: {type: object, x-kubernetes-preserve-unknown-fields: true, anyOf: [{required: [a]}, {required: [b]}]},
			one: {type: object, x-kubernetes-preserve-unknown-fields: true, oneOf: [{required: [a]}, {required: [b]}]},
			not: {type: object, x-kubernetes-preserve-unknown-fields: true, not: {required: [a]}},
			small: {type: integer, format: int32}}}}}]}}`)
	for object, want := range map[string][]string{
		`any: {c: 1}`:       {`any [invalid] any fits none of the schemas under anyOf, expected one at least`, `any.a`},
		`one: {a: 1, b: 2}`: {`one [invalid] one fits more than one of the schemas under oneOf, expected exactly one`},
		`one: {}`:           {`one [invalid] one fits none of the schemas under oneOf, expected exactly one`, `one.a`},
		`not: {a: 1}`:       {`not [invalid] not fits the schema under not, expected that it does not`},
		`small: 1.5`:        {`small [type] small: expected int32, got number 1.5`},
		`small: 3000000000`: {`small [invalid] small: expected int32, got integer 3000000000`},
		`any: {a: 1}, one: {b: 1}, not: {}, small: 3`: nil,
	} {
		a := rules(t).Admit(set, parse(t, `{apiVersion: example.com/v1, kind: Door, metadata: {name: a}, `+object+`}`), nil)
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		t.Run(object, func(t *testing.T) { match(t, "violations", a.Violations, want) })
	}
}

func TestWhatAVersionDoesNotKeepIsLost(t *testing.T) {
	t.Parallel()
	const crd = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: doors.example.com}, spec: {group: example.com, scope: Cluster, %s
		names: {kind: Door, plural: doors}, versions: [
			{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {kept: {type: string}, wide: {type: integer, default: 90}}}}},
			{name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {kept: {type: string}, lost: {type: string}, wide: {type: integer}}}}}]}}`
	const door = `{apiVersion: example.com/v1beta1, kind: Door, metadata: {name: a, deletionGracePeriodSeconds: 5}, kept: a, lost: b}`
	for conversion, want := range map[string]string{
		``: `{apiVersion: example.com/v1beta1, kind: Door, metadata: {name: a}, kept: a, wide: 90}`,
		`conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "https://a.example"}}},`: `{apiVersion: example.com/v1beta1, kind: Door, metadata: {name: a}, kept: a, lost: b}`,
	} {
		set := crdSet(t, fmt.Sprintf(crd, conversion))
		got, err := rules(t).Stored(set, parse(t, door))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, parse(t, want).Map()) {
			t.Errorf("stored as %v, expected %s", got, want)
		}
	}
}

func TestTheResourceOfACustomKindIsItsCRDs(t *testing.T) {
	t.Parallel()
	set := crdSet(t, certificatesCRD)
	for _, c := range []struct {
		kind       policies.GroupVersionKind
		resource   string
		namespaced bool
	}{
		{policies.GroupVersionKind{Group: "certs.example.com", Version: "v1", Kind: "Certificate"}, "certificates", true},
		{policies.GroupVersionKind{Group: "certs.example.com", Version: "v2", Kind: "Issuer"}, "issuers", false},
		{policies.GroupVersionKind{Group: "certs.example.com", Version: "v1", Kind: "Order"}, "", false},
	} {
		res, namespaced, known := rules(t).Resource(set, c.kind)
		if res.Resource != c.resource || namespaced != c.namespaced || known != (c.resource != "") {
			t.Errorf("%v is sent to %+v, namespaced %v, known %v", c.kind, res, namespaced, known)
		}
	}
}

func TestWithoutItsCRDACustomResourceIsNotKnown(t *testing.T) {
	t.Parallel()
	a := rules(t).Admit(policies.NewSet(), parse(t, goodCertificate), nil)
	if a.Known || a.Err != nil || len(a.Violations)+len(a.Warnings) != 0 {
		t.Errorf("answer is %+v", a)
	}
}

func TestACRDThatCannotBeUsedLeavesItsObjectsUnjudged(t *testing.T) {
	t.Parallel()
	const crd = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: certificates.certs.example.com},
		spec: {group: certs.example.com, names: {kind: Certificate, plural: certificates}, scope: Namespaced, versions: [{name: v1, served: true, storage: true%s}]}}`
	for _, c := range []struct{ name, schema, want string }{
		{"without a schema", "", "has no schema"},
		{"with a schema that is not structural", ", schema: {openAPIV3Schema: {type: object, properties: {spec: {properties: {a: {}}}}}}", "structural"},
		{"with a schema that is no schema", ", schema: {openAPIV3Schema: [1]}", "cannot unmarshal"},
		{"with more rules than can be compiled", ", schema: {openAPIV3Schema: {type: object, x-kubernetes-validations: [" + strings.Repeat("{rule: 'true'},", maxCustomRules+1) + "]}}", "validation rules"},
		{"with a rule that does not compile", ", schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true, x-kubernetes-validations: [{rule: 'self.'}]}}", "compil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := rules(t).Admit(crdSet(t, fmt.Sprintf(crd, c.schema)), parse(t, goodCertificate), nil)
			if !a.Known || a.Err == nil || !strings.Contains(a.Err.Error(), c.want) {
				t.Errorf("known %v, error %v, violations %s", a.Known, a.Err, said(a.Violations))
			}
		})
	}
}

func TestACRDIsJudgedWhereItIsWritten(t *testing.T) {
	t.Parallel()
	doc, _, _ := strings.Cut(certificatesCRD, "\n---\n")
	const at = "spec.versions[0].schema.openAPIV3Schema.properties.spec"
	for _, c := range []struct{ name, from, to, want string }{
		{"a good one is taken", "", "", ""},
		{"a type that is none", "type: integer, format: int32, minimum: 0, maximum: 10, default: 1", "type: integr",
			at + `.properties.copies.type [not-supported-value] ` + at + `.properties.copies.type: unsupported value "integr": expected one of "array", "boolean", "integer", "number", "object", "string" (did you mean "integer"?)`},
		{"a default that does not fit", "default: 2160h", "default: 5",
			at + `.properties.duration.default [type] ` + at + `.properties.duration.default: expected duration, got integer 5`},
		{"a rule of a field that is not there", `rule: "!has(self.renewBefore)`, `rule: "!has(self.renewAfter)`,
			at + `.x-kubernetes-validations[0].rule [invalid] ` + at + `.x-kubernetes-validations[0].rule: invalid value: compilation failed: ERROR: <input>:1:5: undefined field 'renewAfter'`},
		{"a list map without its key", "x-kubernetes-list-map-keys: [type]", "x-kubernetes-list-map-keys: [typo]",
			at + `.properties.additionalOutputs.x-kubernetes-list-map-keys [invalid] ` + at + `.properties.additionalOutputs.x-kubernetes-list-map-keys: invalid value: entries must all be names of item properties`},
		{"a path without its dot", "specReplicasPath: .spec.copies", "specReplicasPath: spec.copies",
			`spec.versions[0].subresources.scale.specReplicasPath [invalid] spec.versions[0].subresources.scale.specReplicasPath: invalid value "spec.copies": must be a simple json path starting with .`},
		{"no version to store", "storage: true", "storage: false",
			`spec.versions [invalid] spec.versions: invalid value: must have exactly one version marked as storage version
status.storedVersions [invalid] status.storedVersions: invalid value: must have at least one stored version`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := rules(t).Admit(nil, parse(t, strings.Replace(doc, c.from, c.to, 1)), nil)
			if got := said(a.Violations); got != c.want || a.Err != nil || !a.Known {
				t.Errorf("said\n%s\nexpected\n%s\nerror %v", got, c.want, a.Err)
			}
		})
	}
}

func TestFindPathKnowsWhereAKeyEnds(t *testing.T) {
	t.Parallel()
	content := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"a.b/c[0]": "x", "a": "y"}}, "l": []any{map[string]any{"k.l": 1}}}
	for text, want := range map[string]policies.Path{
		"":                               nil,
		"metadata.annotations.a.b/c[0]":  {"metadata", "annotations", "a.b/c[0]"},
		"metadata.annotations[a.b/c[0]]": {"metadata", "annotations", "a.b/c[0]"},
		"metadata.annotations.a":         {"metadata", "annotations", "a"},
		"l[0].k.l":                       {"l", 0, "k.l"},
		"l[7].x":                         {"l", 7, "x"},
		"missing.field":                  {"missing", "field"},
		"l[x]":                           {"l", "x"},
		".l[0]":                          {"l", 0},
		"metadata.annotations[unclosed":  {"metadata", "annotations", "unclosed"},
	} {
		if got := findPath(text, content); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %#v, expected %#v", text, got, want)
		}
	}
}

// A CRD that a pull request brings under another name must not judge the objects of a kind that is defined already.
func TestTwoCRDsOfOneKindJudgeNothing(t *testing.T) {
	t.Parallel()
	const loose = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %s.certs.example.com},
		spec: {group: certs.example.com, names: {kind: Certificate, plural: %[1]s}, scope: Namespaced, versions: [{name: v1, served: true, storage: true,
		schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`
	doc, _, _ := strings.Cut(certificatesCRD, "\n---\n")
	for _, c := range []struct {
		name, first, second string
		shadowed            bool
	}{
		{"another name before", fmt.Sprintf(loose, "aaa"), doc, true},
		{"another name after", doc, fmt.Sprintf(loose, "zzz"), true},
		{"one name twice", doc, fmt.Sprintf(loose, "certificates"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set := crdSet(t, c.first+"\n---\n"+c.second)
			a := rules(t).Admit(set, parse(t, certificate(`{secretName: 5, issuerRef: {name: ca}}`)), nil)
			if got := a.Err != nil && strings.Contains(a.Err.Error(), "is defined by"); got != c.shadowed || !c.shadowed && len(a.Violations) == 0 {
				t.Errorf("error %v, violations %s", a.Err, said(a.Violations))
			}
			for _, crd := range set.Of(crdKind) {
				a := rules(t).Admit(set, crd, nil)
				if got := strings.Contains(said(a.Violations), "spec.names.kind [duplicate] spec.names.kind: Certificate.certs.example.com is defined by"); got != c.shadowed {
					t.Errorf("%s: violations %s", crd, said(a.Violations))
				}
			}
		})
	}
}
