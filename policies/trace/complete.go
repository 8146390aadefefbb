package trace

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"gitgate.dev/gitgate/policies"
)

// completed is the stored form of what Git declares with what a reconciler and the API server add to it: the reconciler's marks
// and what only the cluster could assign. Each addition is taken from what is written only when it is what they would add.
// What is returned shares what it does not add to with stored, which is not changed.
func (r *review) completed(ctx context.Context, f *policies.Form, stored map[string]any) (map[string]any, error) {
	b := &builder{r: r, ctx: ctx, written: r.c.Object.Map(), expected: copied(stored)}
	b.meta = b.sub(b.expected, "metadata")
	b.writtenMeta = asMap(b.written["metadata"])
	for _, key := range []string{"name", "namespace", "generateName"} {
		// They are the key that the form was found by; namespace and name may be the reconciler's to fill in.
		b.same(b.meta, b.writtenMeta, key)
	}
	if _, ok := b.expected["apiVersion"]; ok {
		b.expected["apiVersion"] = b.written["apiVersion"]
	}
	b.marks(f)
	b.lastApplied(f, stored)
	b.byKind()
	if len(asMap(b.expected["spec"])) == 0 && stored["spec"] == nil {
		delete(b.expected, "spec")
	}
	return b.expected, b.err
}

// builder adds to a declared object what is not Git's to declare.
type builder struct {
	r                             *review
	ctx                           context.Context
	written, writtenMeta          map[string]any
	expected, meta                map[string]any
	ownLabels, ownNotes, ownSpecs bool // the map in expected is a copy already
	err                           error
}

// sub returns a copy of a map in m that may be changed, in its place.
func (b *builder) sub(m map[string]any, key string) map[string]any {
	c := copied(asMap(m[key]))
	m[key] = c
	return c
}

// copied is a copy of a map that may be written to, also of none.
func copied(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return maps.Clone(m)
}

func (b *builder) labels() map[string]any {
	if !b.ownLabels {
		b.ownLabels = true
		b.sub(b.meta, "labels")
	}
	return asMap(b.meta["labels"])
}

func (b *builder) annotations() map[string]any {
	if !b.ownNotes {
		b.ownNotes = true
		b.sub(b.meta, "annotations")
	}
	return asMap(b.meta["annotations"])
}

func (b *builder) spec() map[string]any {
	if !b.ownSpecs {
		b.ownSpecs = true
		b.sub(b.expected, "spec")
	}
	return asMap(b.expected["spec"])
}

func (b *builder) writtenSpec() map[string]any { return asMap(b.written["spec"]) }

// same takes a field from what is written.
func (b *builder) same(to, from map[string]any, key string) {
	if v, ok := from[key]; ok {
		to[key] = v
	} else {
		delete(to, key)
	}
}

// fill takes a field from what is written where nothing is declared.
func (b *builder) fill(to, from map[string]any, keys ...string) {
	for _, key := range keys {
		if v, ok := from[key]; ok && v != nil && to[key] == nil {
			to[key] = v
		}
	}
}

// note takes a label or annotation from what is written when it is the given text.
func (b *builder) note(section, key string, values ...string) {
	got, ok := asMap(b.writtenMeta[section])[key].(string)
	if !ok || !slices.Contains(values, got) {
		return
	}
	if section == "labels" {
		b.labels()[key] = got
	} else {
		b.annotations()[key] = got
	}
}

// finalizer takes a finalizer from what is written.
func (b *builder) finalizer(name string) {
	if contains(asList(b.writtenMeta["finalizers"]), name) && !contains(asList(b.meta["finalizers"]), name) {
		b.meta["finalizers"] = append(slices.Clone(asList(b.meta["finalizers"])), name)
	}
}

// passing takes it from what is written whether a finalizer is there: the reconciler puts it on an object and takes it away again.
func (b *builder) passing(name string) {
	b.finalizer(name)
	declared := asList(b.meta["finalizers"])
	if contains(declared, name) && !contains(asList(b.writtenMeta["finalizers"]), name) {
		b.meta["finalizers"] = slices.DeleteFunc(slices.Clone(declared), func(f any) bool { return f == name })
	}
}

// marks are what the reconciler of a unit writes on everything that it applies.
func (b *builder) marks(f *policies.Form) {
	u, r := f.Unit, b.r
	switch u.Kind {
	case "Kustomization":
		b.note("labels", "kustomize.toolkit.fluxcd.io/name", u.Name)
		b.note("labels", "kustomize.toolkit.fluxcd.io/namespace", u.Namespace)
	case "HelmRelease":
		b.note("labels", "helm.toolkit.fluxcd.io/name", u.Name)
		b.note("labels", "helm.toolkit.fluxcd.io/namespace", u.Namespace)
		b.note("labels", "app.kubernetes.io/managed-by", "Helm")
	case "Application":
		names := []string{u.Name}
		if u.Namespace != "" {
			names = append(names, u.Namespace+"_"+u.Name)
		}
		b.note("labels", "app.kubernetes.io/instance", names...)
		var ids []string
		for _, name := range names {
			ids = append(ids, name+":"+r.governed.Group+"/"+r.governed.Kind+":"+r.key.Namespace+"/"+r.key.Name)
		}
		b.note("annotations", trackingID, ids...)
		if isHook(f.Object) {
			b.passing("argocd.argoproj.io/hook-finalizer")
		}
	}
	if u.Kind == applicationSetKind.Kind {
		b.note("labels", "argocd.argoproj.io/application-set-name", u.Name)
		b.owned(applicationSetKind, u.Name)
	}
	if hash, ok := asMap(b.writtenMeta["annotations"])["kustomize.toolkit.fluxcd.io/checksum"].(string); ok && len(hash) <= 64 {
		b.annotations()["kustomize.toolkit.fluxcd.io/checksum"] = hash
	}
}

// owned takes from what is written that a live object of a kind and name is the only owner, and controls it.
func (b *builder) owned(kind policies.GroupKind, name string) {
	written := asList(b.writtenMeta["ownerReferences"])
	if len(written) != 1 || !empty(b.meta["ownerReferences"]) {
		return
	}
	x := readOwner(asMap(written[0]))
	if x.kind.GroupKind() != kind || x.name != name || !x.controller {
		return
	}
	o, err := b.r.ownerObject(b.ctx, x, b.r.key.Namespace)
	if err != nil {
		b.err = err
	} else if o != nil {
		b.meta["ownerReferences"] = written
	}
}

// lastApplied takes the annotation of client-side apply from what is written when all that it says is declared: later applies
// take away what it names and the manifest does not. With RespectIgnoreDifferences=true, Argo CD puts the live values of the fields that
// are ignored into what it applies, so that the annotation says them too: they are taken where the object had them and keeps them.
func (b *builder) lastApplied(f *policies.Form, stored map[string]any) {
	written, ok := asMap(b.writtenMeta["annotations"])[lastApplied].(string)
	if !ok {
		return
	}
	if b.r.c.Old != nil && text(b.r.c.Old, "metadata", "annotations", lastApplied) == written {
		return // unchanged, and compared as that
	}
	var said map[string]any
	if json.Unmarshal([]byte(written), &said) != nil {
		return
	}
	said = integers(said).(map[string]any)
	b.meta["annotations"] = b.annotations()
	for _, declared := range []map[string]any{f.Object.Map(), stored} {
		full := copied(declared)
		meta := copied(asMap(declared["metadata"]))
		notes := maps.Clone(b.annotations())
		meta["labels"], meta["annotations"] = b.labelsOr(meta), notes
		for _, key := range []string{"name", "namespace"} {
			b.same(meta, b.writtenMeta, key)
		}
		meta["finalizers"] = b.meta["finalizers"]
		full["metadata"] = meta
		if full["apiVersion"] != said["apiVersion"] {
			full["apiVersion"] = b.written["apiVersion"]
		}
		c := Content{Declared: full, New: said, Lists: b.r.lists(), Opaque: opaque(f)}
		if says(c) || b.keeps(f, c) {
			b.annotations()[lastApplied] = written
			return
		}
	}
}

func (b *builder) labelsOr(meta map[string]any) any {
	if l := asMap(b.meta["labels"]); len(l) > 0 {
		return l
	}
	return meta["labels"]
}

// keeps says whether all that a manifest says beside what is declared is what the live object had and keeps, and the Application that
// applies it leaves alone what it ignores.
func (b *builder) keeps(f *policies.Form, c Content) bool {
	if b.r.c.Old == nil || !b.r.synced(f.Unit, "RespectIgnoreDifferences=true") {
		return false
	}
	had, has := c, c
	had.Old, has.Old = b.r.c.Old.Map(), b.written
	return says(had) && says(has)
}

// says reports whether all that a manifest says, which is the new content, is declared. Empty maps say nothing.
func says(c Content) bool {
	for _, d := range Compare(c) {
		if d.Cause != Dropped && !(d.Cause == NotDeclared && empty(d.Got)) {
			return false
		}
	}
	return empty(c.New["status"])
}

// integers turns the whole numbers of decoded JSON into int64, as objects have them.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = integers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = integers(x)
		}
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	}
	return v
}

// byKind adds what the API server and its admission assign to objects of a kind.
func (b *builder) byKind() {
	w := b.writtenSpec()
	switch b.r.governed {
	case namespaceKind:
		b.note("labels", "kubernetes.io/metadata.name", b.r.key.Name)
		if Equal(w["finalizers"], []any{"kubernetes"}) {
			b.spec()["finalizers"] = w["finalizers"]
		}
	case policies.GroupKind{Kind: "Service"}:
		b.service()
	case podKind:
		b.pod(b.spec(), w)
	case policies.GroupKind{Group: "batch", Kind: "Job"}:
		b.job()
	case policies.GroupKind{Kind: "PersistentVolumeClaim"}:
		b.finalizer("kubernetes.io/pvc-protection")
		b.defaultClass("storageClassName", "storageclass.kubernetes.io/is-default-class", policies.GroupVersionKind{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"})
	case policies.GroupKind{Kind: "PersistentVolume"}:
		b.finalizer("kubernetes.io/pv-protection")
	case policies.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}:
		b.defaultClass("ingressClassName", "ingressclass.kubernetes.io/is-default-class", policies.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "IngressClass"})
	case policies.GroupKind{Group: "apps", Kind: "DaemonSet"}:
		generation := "deprecated.daemonset.template.generation"
		if n, ok := asMap(b.writtenMeta["annotations"])[generation].(string); ok && isNumber(n) {
			b.annotations()[generation] = n
		}
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// service adds the addresses and ports that the API server allocates.
func (b *builder) service() {
	s, w := b.spec(), b.writtenSpec()
	ip, _ := w["clusterIP"].(string)
	if s["clusterIP"] == nil && ip != "None" {
		b.fill(s, w, "clusterIP")
	}
	if ips := asList(w["clusterIPs"]); s["clusterIPs"] == nil && len(ips) > 0 && Equal(ips[0], s["clusterIP"]) && (len(ips) == 1 || !contains(ips, "None")) {
		s["clusterIPs"] = ips
	}
	b.fill(s, w, "ipFamilies", "ipFamilyPolicy")
	kind, _ := s["type"].(string)
	if kind != "NodePort" && kind != "LoadBalancer" {
		return
	}
	if s["externalTrafficPolicy"] == "Local" {
		b.fill(s, w, "healthCheckNodePort")
	}
	s["ports"] = paired(asList(s["ports"]), asList(w["ports"]), []string{"port", "protocol"}, func(port, written map[string]any) {
		b.fill(port, written, "nodePort")
	})
}

// paired returns a copy of a list whose items are completed by those of another list with the same keys.
func paired(declared, written []any, keys []string, complete func(declared, written map[string]any)) []any {
	at, ok := index(written, keys)
	if !ok {
		return declared
	}
	out := make([]any, len(declared))
	for i, item := range declared {
		out[i] = item
		m, isMap := item.(map[string]any)
		if k, found := at[keyOf(item, keys)]; found && isMap {
			m = maps.Clone(m)
			complete(m, asMap(written[k]))
			out[i] = m
		}
	}
	return out
}

// job adds the selector and the labels that the API server derives from the Job's uid and name.
func (b *builder) job() {
	s, w := b.spec(), b.writtenSpec()
	uid, _ := b.writtenMeta["uid"].(string)
	name, _ := b.writtenMeta["name"].(string)
	if manual, _ := s["manualSelector"].(bool); manual || uid == "" {
		return
	}
	if s["selector"] == nil && Equal(w["selector"], map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": uid}}) {
		s["selector"] = w["selector"]
	}
	template := b.sub(s, "template")
	meta := b.sub(template, "metadata")
	labels := b.sub(meta, "labels")
	written, _ := policies.Lookup(w, policies.Path{"template", "metadata", "labels"})
	for key, want := range map[string]string{
		"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid, "batch.kubernetes.io/job-name": name, "job-name": name,
	} {
		if asMap(written)[key] == want {
			labels[key] = want
		}
		// A Job without labels of its own has those of its template from when it is first read back.
		if got := asMap(b.writtenMeta["labels"])[key]; got == want {
			b.labels()[key] = got
		} else if got == nil && asMap(b.meta["labels"])[key] != nil {
			delete(b.labels(), key)
		}
	}
	if len(labels) == 0 {
		delete(meta, "labels")
	}
	if len(meta) == 0 && asMap(w["template"])["metadata"] == nil {
		delete(template, "metadata")
	}
	b.fill(s, w, "manualSelector")
}

// defaultClass adds the class that the cluster gives to objects which name none.
func (b *builder) defaultClass(field, mark string, kind policies.GroupVersionKind) {
	name, _ := b.writtenSpec()[field].(string)
	if name == "" || b.spec()[field] != nil {
		return
	}
	if b.r.c.Old != nil && text(b.r.c.Old, "spec", field) == name {
		return
	}
	isDefault := func(o *policies.Object) bool { return o != nil && text(o, "metadata", "annotations", mark) == "true" }
	if b.lives(Ref{Kind: kind, Name: name}, isDefault) {
		b.spec()[field] = name
	}
}

// lives says whether there is a live object that satisfies.
func (b *builder) lives(ref Ref, satisfies func(*policies.Object) bool) bool {
	o, err := b.r.live(b.ctx, ref, satisfies)
	if err != nil {
		b.err = err
		return false
	}
	return satisfies(o)
}
