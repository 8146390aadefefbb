package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// maker makes of a live owner what its controller makes of it, as far as Git's content goes. b has the object that is written, and
// gets the one that is expected. It returns why the owner makes no such object; "" when it does.
type maker func(ctx context.Context, b *builder, owner *policies.Object) (why string, err error)

// made admits the creation of what a controller makes of an owner: the owner controls it by name and uid, is there, comes from what
// is declared, and the content is what its controller makes of the owner's.
func made(kind string, make maker) rule {
	return func(ctx context.Context, r *review) ([]policies.Violation, error) {
		x, ok := controllerOf(r.c.Object)
		if !ok || !matchesKind([]string{kind}, x.kind.GroupKind()) {
			return because("%s has no controller of the kind %s", r.name(), kind), nil
		}
		owner, err := r.ownerObject(ctx, x, r.key.Namespace)
		if err != nil {
			return nil, err
		}
		if owner == nil {
			return because("%s names %s with uid %q as its controller, and there is none", r.name(), x, x.uid), nil
		}
		root, ok, err := r.traces(ctx, owner)
		if err != nil {
			return nil, err
		}
		if !ok {
			return because("%s comes from %s, which no accepted commit declares", r.name(), root), nil
		}
		return r.ofOwner(ctx, x, owner, func(owner *policies.Object) ([]policies.Violation, error) { return r.asMade(ctx, owner, make) })
	}
}

// ofOwner asks judge of an owner, and when it refuses once more of the owner as the API server has it: a cache is never the reason
// for a refusal.
func (r *review) ofOwner(ctx context.Context, x owner, o *policies.Object, judge func(*policies.Object) ([]policies.Violation, error)) ([]policies.Violation, error) {
	found, err := judge(o)
	if err != nil || len(found) == 0 {
		return found, err
	}
	ref := r.refTo(x, r.key.Namespace)
	ref.Fresh = true
	newer, err := r.j.Owners.Get(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("%s: could not be looked up: %w", x, err)
	}
	if newer == nil || text(newer, "metadata", "uid") != x.uid || text(newer, "metadata", "resourceVersion") == text(o, "metadata", "resourceVersion") {
		return found, nil
	}
	return judge(newer)
}

// asMade compares the object with what is made of the owner.
func (r *review) asMade(ctx context.Context, owner *policies.Object, make maker) ([]policies.Violation, error) {
	b := &builder{r: r, ctx: ctx, written: r.c.Object.Map(), expected: map[string]any{}, meta: map[string]any{}, ownLabels: true, ownNotes: true, ownSpecs: true}
	b.writtenMeta = asMap(b.written["metadata"])
	for _, key := range []string{"apiVersion", "kind"} {
		b.same(b.expected, b.written, key)
	}
	for _, key := range []string{"name", "namespace", "generateName"} {
		b.same(b.meta, b.writtenMeta, key)
	}
	b.expected["metadata"] = b.meta
	b.meta["labels"], b.meta["annotations"], b.expected["spec"] = map[string]any{}, map[string]any{}, map[string]any{}
	for _, item := range asList(b.writtenMeta["ownerReferences"]) {
		if x := readOwner(asMap(item)); x.controller {
			b.meta["ownerReferences"] = []any{item}
		}
	}
	why, err := make(ctx, b, owner)
	if err == nil {
		err = b.err
	}
	if err != nil || why != "" {
		return because("%s: %s", r.name(), why), err
	}
	if len(b.spec()) == 0 {
		delete(b.expected, "spec")
	}
	var out []policies.Violation
	for _, d := range Compare(Content{Declared: b.expected, New: b.written, Lists: r.lists()}) {
		if r.lets(d, b.written) {
			continue
		}
		v := policies.Violation{Path: d.Path}
		switch d.Cause {
		case NotDeclared:
			v.Message = fmt.Sprintf("%s: %s is not what %s makes: it has none", d.Path, r.value(d.Path, d.Got, "what is set"), owner)
		case Untold:
			v.Message = fmt.Sprintf("%s has more than %d fields that are not what %s makes", r.name(), maxDifferences, owner)
		case Dropped:
			v.Message = fmt.Sprintf("%s: is left out, and %s makes %s", d.Path, owner, r.value(d.Path, d.Declared, "it"))
		default:
			v.Message = fmt.Sprintf("%s: %s is not what %s makes: %s", d.Path, r.value(d.Path, d.Got, "the value"), owner, r.value(d.Path, d.Declared, "another"))
		}
		out = append(out, v)
	}
	return out, nil
}

// lookup is a map inside an object.
func lookup(o map[string]any, path ...any) map[string]any {
	v, _ := policies.Lookup(o, path)
	return asMap(v)
}

// template takes the metadata and the spec of a Pod template.
func (b *builder) template(t map[string]any) {
	meta := asMap(t["metadata"])
	maps.Copy(b.labels(), asMap(meta["labels"]))
	maps.Copy(b.annotations(), asMap(meta["annotations"]))
	if f := asList(meta["finalizers"]); len(f) > 0 {
		b.meta["finalizers"] = f
	}
	maps.Copy(b.spec(), asMap(t["spec"]))
}

// take takes labels or annotations from what is written whatever they say: what the controller computes.
func (b *builder) take(section string, keys ...string) {
	for _, key := range keys {
		if v, ok := asMap(b.writtenMeta[section])[key]; ok {
			asMap(b.meta[section])[key] = v
		}
	}
}

func podOfReplicas(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	if Equal(lookup(owner.Map(), "spec")["replicas"], int64(0)) {
		return fmt.Sprintf("%s has no replicas", owner), nil
	}
	b.template(lookup(owner.Map(), "spec", "template"))
	b.pod(b.spec(), b.writtenSpec())
	return "", nil
}

func podOfDaemonSet(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	b.template(lookup(owner.Map(), "spec", "template"))
	b.take("labels", "controller-revision-hash", "pod-template-generation")
	spec, w := b.spec(), b.writtenSpec()
	if affinity, ok := ofNode(asMap(spec["affinity"]), asMap(w["affinity"])); ok {
		spec["affinity"] = affinity
	}
	b.pod(spec, w)
	return "", nil
}

// ofNode is the affinity of a template with the node that the DaemonSet controller chose: each required term names the node's
// name, and there is one where the template has none.
func ofNode(template, written map[string]any) (map[string]any, bool) {
	const required = "requiredDuringSchedulingIgnoredDuringExecution"
	terms := asList(lookup(written, "nodeAffinity", required)["nodeSelectorTerms"])
	if len(terms) == 0 {
		return nil, false
	}
	match := asList(asMap(terms[0])["matchFields"])
	if len(match) != 1 {
		return nil, false
	}
	values := asList(asMap(match[0])["values"])
	if len(values) != 1 || !Equal(match[0], map[string]any{"key": "metadata.name", "operator": "In", "values": values}) {
		return nil, false
	}
	old := asList(lookup(template, "nodeAffinity", required)["nodeSelectorTerms"])
	if len(old) == 0 {
		old = []any{map[string]any{}}
	}
	var made []any
	for _, term := range old {
		t := copied(asMap(term))
		t["matchFields"] = match
		made = append(made, t)
	}
	out := copied(template)
	node := copied(asMap(out["nodeAffinity"]))
	node[required] = map[string]any{"nodeSelectorTerms": made}
	out["nodeAffinity"] = node
	return out, true
}

func podOfJob(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	if why := idle(owner); why != "" {
		return why, nil
	}
	b.template(lookup(owner.Map(), "spec", "template"))
	b.finalizer("batch.kubernetes.io/job-tracking")
	const index = "batch.kubernetes.io/job-completion-index"
	b.take("labels", index)
	b.take("annotations", index, "batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count")
	spec, w := b.spec(), b.writtenSpec()
	if text(owner, "spec", "completionMode") == "Indexed" {
		if host, _ := w["hostname"].(string); spec["hostname"] == nil && strings.HasPrefix(host, owner.Name+"-") {
			spec["hostname"] = host
		}
		env := func(c, written map[string]any) {
			for _, e := range asList(written["env"]) {
				ref := lookup(asMap(e), "valueFrom", "fieldRef")
				if asMap(e)["name"] == "JOB_COMPLETION_INDEX" && !named(asList(c["env"]), "JOB_COMPLETION_INDEX") &&
					(ref["fieldPath"] == "metadata.labels['"+index+"']" || ref["fieldPath"] == "metadata.annotations['"+index+"']") {
					c["env"] = append(slices.Clone(asList(c["env"])), e)
				}
			}
		}
		for _, key := range []string{"initContainers", "containers"} {
			if spec[key] != nil {
				spec[key] = paired(asList(spec[key]), asList(w[key]), []string{"name"}, env)
			}
		}
	}
	b.pod(spec, w)
	return "", nil
}

const templateHash = "pod-template-hash"

func replicaSetOfDeployment(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	hash, _ := asMap(b.writtenMeta["labels"])[templateHash].(string)
	if hash == "" || b.r.key.Name != owner.Name+"-"+hash {
		return fmt.Sprintf("%s makes ReplicaSets named %s and the hash of the template", owner, owner.Name), nil
	}
	template := copied(lookup(owner.Map(), "spec", "template"))
	b.sub(b.sub(template, "metadata"), "labels")[templateHash] = hash
	maps.Copy(b.labels(), lookup(template, "metadata", "labels"))
	b.carried(owner)
	spec, w, from := b.spec(), b.writtenSpec(), lookup(owner.Map(), "spec")
	spec["template"] = template
	selector := copied(asMap(from["selector"]))
	b.sub(selector, "matchLabels")[templateHash] = hash
	spec["selector"] = selector
	b.fill(spec, from, "minReadySeconds")
	b.fill(spec, w, "replicas")
	if most := mostReplicas(owner); replicasOf(b.written) > most {
		return fmt.Sprintf("%s makes no ReplicaSet of more than %d replicas", owner, most), nil
	}
	return "", nil
}

// carried takes the annotations of a Deployment that its ReplicaSets carry, and those that the controller writes on them.
func (b *builder) carried(owner *policies.Object) {
	theirs := lookup(owner.Map(), "metadata", "annotations")
	for key, value := range asMap(b.writtenMeta["annotations"]) {
		if strings.HasPrefix(key, "deployment.kubernetes.io/") || Equal(value, theirs[key]) {
			b.annotations()[key] = value
		}
	}
}

// scaledReplicaSet admits that a ReplicaSet of a traced Deployment gets another number of replicas, the Deployment's annotations,
// or the Deployment as its owner.
func scaledReplicaSet(ctx context.Context, r *review) ([]policies.Violation, error) {
	found, err := adoption("Deployment.apps", "spec.replicas", "spec.minReadySeconds", "metadata.annotations", "metadata.labels["+templateHash+"]")(ctx, r)
	if err != nil || len(found) > 0 {
		return found, err
	}
	x, ok := controllerOf(r.c.Object)
	if !ok {
		return nil, nil // it is let go: nothing but the owner changed, or adoption would have said
	}
	carried := true
	for _, e := range r.edits() {
		if e.steps[0] == "spec" || len(e.steps) == 3 && e.steps[1] == "annotations" && e.now != nil && !strings.HasPrefix(e.steps[2], "deployment.kubernetes.io/") {
			carried = false
		}
	}
	if carried {
		return nil, nil
	}
	owner, err := r.ownerObject(ctx, x, r.key.Namespace)
	if err != nil {
		return nil, err
	}
	if owner == nil {
		return because("%s names %s with uid %q as its controller, and there is none", r.name(), x, x.uid), nil
	}
	root, ok, err := r.traces(ctx, owner)
	if err != nil {
		return nil, err
	}
	if !ok {
		return because("%s comes from %s, which no accepted commit declares", r.name(), root), nil
	}
	return r.ofOwner(ctx, x, owner, func(owner *policies.Object) ([]policies.Violation, error) { return r.scaledOf(owner), nil })
}

// scaledOf tells what of an update of a ReplicaSet its Deployment does not explain.
func (r *review) scaledOf(owner *policies.Object) []policies.Violation {
	was, now, most := replicasOf(r.c.Old.Map()), replicasOf(r.c.Object.Map()), mostReplicas(owner)
	switch {
	case now > was && now > most:
		return because("%s is scaled to %d, and %s has %d replicas at most", r.name(), now, owner, most)
	case now > was && was == 0 && !ofTemplate(r.c.Object, owner) && lookup(owner.Map(), "spec")["paused"] != true:
		return because("%s has an older template of %s and no replicas: it gets none any more", r.name(), owner)
	}
	theirs := lookup(owner.Map(), "metadata", "annotations")
	return r.outside(func(e edit) bool {
		switch {
		case len(e.steps) == 3 && e.steps[1] == "annotations" && e.now != nil && !strings.HasPrefix(e.steps[2], "deployment.kubernetes.io/"):
			return Equal(e.now, theirs[e.steps[2]])
		case len(e.steps) == 2 && e.steps[1] == "minReadySeconds":
			return Equal(e.now, lookup(owner.Map(), "spec")["minReadySeconds"])
		}
		return true
	})
}

// idle says why the controller of a Job or CronJob makes nothing of it now; "" when it may.
func idle(owner *policies.Object) string {
	switch {
	case lookup(owner.Map(), "spec")["suspend"] == true:
		return fmt.Sprintf("%s is suspended", owner)
	case finished(owner):
		return fmt.Sprintf("%s has finished", owner)
	}
	return ""
}

func jobOfCronJob(_ context.Context, b *builder, owner *policies.Object) (string, error) {
	if why := idle(owner); why != "" {
		return why, nil
	}
	template := lookup(owner.Map(), "spec", "jobTemplate")
	meta := asMap(template["metadata"])
	maps.Copy(b.labels(), asMap(meta["labels"]))
	maps.Copy(b.annotations(), asMap(meta["annotations"]))
	b.take("annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp")
	spec, w := b.spec(), b.writtenSpec()
	maps.Copy(spec, asMap(template["spec"]))
	for key, preset := range map[string]any{
		"parallelism": int64(1), "completions": int64(1), "backoffLimit": int64(6), "completionMode": "NonIndexed", "suspend": false, "manualSelector": false,
	} {
		if Equal(w[key], preset) {
			b.fill(spec, w, key)
		}
	}
	b.fill(spec, w, "podReplacementPolicy")
	b.job()
	return "", nil
}
