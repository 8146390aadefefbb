package trace

import (
	"context"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

var claimTemplateKind = policies.GroupKind{Group: "resource.k8s.io", Kind: "ResourceClaimTemplate"}

const (
	podClaimName     = "resource.kubernetes.io/pod-claim-name"
	longestClaimName = 57 // what the controller leaves for the name before the API server's own five characters
)

// claimOfTemplate makes the ResourceClaim that a Pod's entry of spec.resourceClaims asks for, of the ResourceClaimTemplate that Git declares
// (k8s.io/kubernetes, pkg/controller/resourceclaim).
func claimOfTemplate(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	name, _ := asMap(b.writtenMeta["annotations"])[podClaimName].(string)
	template := ""
	for _, c := range asList(lookup(owner.Map(), "spec")["resourceClaims"]) {
		if claim := asMap(c); claim["name"] == name {
			template, _ = claim["resourceClaimTemplateName"].(string)
		}
	}
	if template == "" {
		return fmt.Sprintf("%s asks for no claim %q of a template", owner, name), nil
	}
	prefix, _ := b.writtenMeta["generateName"].(string)
	if prefix != claimPrefix(owner.Name, name) || !strings.HasPrefix(b.r.key.Name, prefix) && b.r.key.Name != "" {
		return fmt.Sprintf("its name is not one that is generated from %s", claimPrefix(owner.Name, name)), nil
	}
	declared, err := b.r.claimTemplate(template)
	if err != nil {
		return "", err
	}
	if declared == nil {
		return fmt.Sprintf("ResourceClaimTemplate %s/%s, which %s names, is declared by no accepted commit", b.r.key.Namespace, template, owner), nil
	}
	for key, value := range lookup(declared, "spec", "metadata", "labels") {
		b.labels()[key] = value
	}
	for key, value := range lookup(declared, "spec", "metadata", "annotations") {
		b.annotations()[key] = value
	}
	b.annotations()[podClaimName] = name
	for key, value := range lookup(declared, "spec", "spec") {
		b.spec()[key] = value
	}
	return "", nil
}

// claimPrefix is what the name of a claim is generated from: the names of the Pod and of its claim, both cut in proportion when they are
// too long together.
func claimPrefix(pod, claim string) string {
	whole := pod + "-" + claim + "-"
	if n := len(whole); n > longestClaimName {
		return pod[:len(pod)*longestClaimName/n] + "-" + claim[:len(claim)*longestClaimName/n]
	}
	return whole
}

// claimTemplate is a template that accepted commits declare, in the version in which the claim is written: of several forms the one whose
// claim is written, as the template in the cluster may be of an older commit. It is nil when there is none.
func (r *review) claimTemplate(name string) (map[string]any, error) {
	kind := r.c.Object.Kind
	kind.Kind = claimTemplateKind.Kind
	var first map[string]any
	for _, f := range r.j.Index.Lookup(policies.Key{GroupKind: claimTemplateKind, Namespace: r.key.Namespace, Name: name}) {
		stored, err := f.Object.Stored()
		switch {
		case f.Object.Kind == kind:
		case r.j.Convert == nil:
			err = fmt.Errorf("it is declared as %s, which nothing here converts", f.Object.Kind.APIVersion())
		default:
			stored, err = r.j.Convert(f.Object, kind)
		}
		if err != nil {
			return nil, fmt.Errorf("%s at %s: what the API server stores of it is not known: %w", f.Object, place(f, nil), err)
		}
		if first == nil {
			first = stored
		}
		if Equal(lookup(stored, "spec", "spec"), r.c.Object.Map()["spec"]) {
			return stored, nil
		}
	}
	return first, nil
}
