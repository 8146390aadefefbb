package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// podOfStatefulSet compares with the StatefulSet's template or, while it rolls out, with the revision that the Pod names.
func podOfStatefulSet(ctx context.Context, b *builder, owner *policies.Object) (string, error) {
	template := lookup(owner.Map(), "spec", "template")
	revision, _ := asMap(b.writtenMeta["labels"])["controller-revision-hash"].(string)
	if revision != "" && revision == text(owner, "status", "currentRevision") && revision != text(owner, "status", "updateRevision") {
		recorded := func(o *policies.Object) bool {
			x, ok := controllerOf(o)
			return ok && x.uid == text(owner, "metadata", "uid")
		}
		o, err := b.r.live(ctx, Ref{Kind: policies.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ControllerRevision"}, Namespace: b.r.key.Namespace, Name: revision}, recorded)
		if err != nil {
			return "", err
		}
		if recorded(o) {
			template = copied(lookup(o.Map(), "data", "spec", "template"))
			delete(template, "$patch")
		}
	}
	b.template(template)
	ordinal, isOrdinal := strings.CutPrefix(b.r.key.Name, owner.Name+"-")
	if !isOrdinal || !isNumber(ordinal) {
		return fmt.Sprintf("%s makes Pods named %s-0 and on", owner, owner.Name), nil
	}
	if from, n := ordinals(owner); !within(ordinal, from, n) {
		return fmt.Sprintf("%s has %d replicas, numbered from %d on", owner, n, from), nil
	}
	b.take("labels", "controller-revision-hash", "controller.kubernetes.io/hash")
	b.note("labels", "statefulset.kubernetes.io/pod-name", b.r.key.Name)
	b.note("labels", "apps.kubernetes.io/pod-index", ordinal)
	spec, w := b.spec(), b.writtenSpec()
	if w["hostname"] == b.r.key.Name {
		spec["hostname"] = b.r.key.Name
	}
	if service := text(owner, "spec", "serviceName"); service != "" && w["subdomain"] == service {
		spec["subdomain"] = service
	}
	claims, _ := policies.Lookup(owner.Map(), policies.Path{"spec", "volumeClaimTemplates"})
	volumes := slices.Clone(asList(spec["volumes"]))
	for _, c := range asList(claims) {
		name, _ := lookup(asMap(c), "metadata")["name"].(string)
		volumes = slices.DeleteFunc(volumes, func(v any) bool { return asMap(v)["name"] == name })
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name + "-" + b.r.key.Name}})
	}
	if len(volumes) > 0 {
		spec["volumes"] = inOrderOf(volumes, asList(w["volumes"]))
	}
	b.pod(spec, w)
	return "", nil
}

// inOrderOf is a list of named items in the order in which another one has them, and then what only it has.
func inOrderOf(list, order []any) []any {
	var out []any
	for _, o := range order {
		for _, item := range list {
			if asMap(item)["name"] == asMap(o)["name"] {
				out = append(out, item)
			}
		}
	}
	for _, item := range list {
		name, _ := asMap(item)["name"].(string)
		if !named(order, name) {
			out = append(out, item)
		}
	}
	return out
}

// revision compares what is recorded of a template with the owner's.
func revision(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	template := copied(lookup(owner.Map(), "spec", "template"))
	template["$patch"] = "replace"
	b.expected["data"] = map[string]any{"spec": map[string]any{"template": template}}
	b.fill(b.expected, b.written, "revision")
	for _, labels := range []map[string]any{lookup(template, "metadata", "labels"), lookup(owner.Map(), "spec", "selector", "matchLabels")} {
		for key, value := range labels {
			if s, ok := value.(string); ok {
				b.note("labels", key, s)
			}
		}
	}
	b.take("labels", "controller-revision-hash", "controller.kubernetes.io/hash")
	for key, value := range lookup(owner.Map(), "metadata", "annotations") {
		if s, ok := value.(string); ok {
			b.note("annotations", key, s)
		}
	}
	return "", nil
}

func claimOfPod(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	for _, v := range asList(lookup(owner.Map(), "spec")["volumes"]) {
		name, _ := asMap(v)["name"].(string)
		template := lookup(asMap(v), "ephemeral", "volumeClaimTemplate")
		if template == nil || b.r.key.Name != owner.Name+"-"+name {
			continue
		}
		b.claim(template)
		return "", nil
	}
	return fmt.Sprintf("%s has no ephemeral volume of that name", owner), nil
}

// claim takes a template of a PersistentVolumeClaim.
func (b *builder) claim(template map[string]any) {
	maps.Copy(b.labels(), lookup(template, "metadata", "labels"))
	maps.Copy(b.annotations(), lookup(template, "metadata", "annotations"))
	maps.Copy(b.spec(), asMap(template["spec"]))
	if w := b.writtenSpec(); w["volumeMode"] == "Filesystem" {
		b.fill(b.spec(), w, "volumeMode")
	}
	b.byKind()
}

var statefulSetKind = policies.GroupKind{Group: "apps", Kind: "StatefulSet"}

// claimOfStatefulSet admits the claims that a declared StatefulSet's templates ask for.
func claimOfStatefulSet(ctx context.Context, r *review) ([]policies.Violation, error) {
	for _, f := range r.j.Index.In(statefulSetKind, r.key.Namespace) {
		claims, _ := policies.Lookup(f.Object.Settled(), policies.Path{"spec", "volumeClaimTemplates"})
		for _, c := range asList(claims) {
			name, _ := lookup(asMap(c), "metadata")["name"].(string)
			ordinal, ok := strings.CutPrefix(r.key.Name, name+"-"+f.Object.Name+"-")
			if !ok || !isNumber(ordinal) {
				continue
			}
			return r.asMade(ctx, f.Object, func(_ context.Context, b *builder, owner *policies.Object) (string, error) {
				b.claim(asMap(c))
				for key, value := range lookup(owner.Settled(), "spec", "selector", "matchLabels") {
					if s, ok := value.(string); ok {
						b.note("labels", key, s)
					}
				}
				return "", nil
			})
		}
	}
	return because("%s is the claim of no declared StatefulSet", r.name()), nil
}

// claimTied admits that a claim is tied to its StatefulSet or Pod, or let go.
func claimTied(ctx context.Context, r *review) ([]policies.Violation, error) {
	found, err := adoption("StatefulSet.apps")(ctx, r)
	if err != nil || len(found) == 0 {
		return found, err
	}
	return adoption("Pod")(ctx, r)
}
