package apiserver

import (
	"context"
	"fmt"
	"reflect"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	names "k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/deprecation"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"gitgate.dev/gitgate/policies"
)

// builtin is one kind in one version, with all that the API server's code needs to handle it.
type builtin struct {
	gvk      policies.GroupVersionKind
	resource policies.Resource
	served   bool // served by default
	strategy strategy
	scheme   *runtime.Scheme
	internal runtime.GroupVersioner
	storage  schema.GroupVersion // the version that it is stored in
	typ      reflect.Type
	ctx      context.Context // as the API server's handlers make it for this resource
	jsonOnly bool            // stored as JSON, so that empty lists and maps stay
	life     lifetime
}

func newBuiltin(row resourceRow, version string) *builtin {
	gvk := policies.GroupVersionKind{Group: row.group, Version: version, Kind: row.kind}
	return makeBuiltin(gvk, row.plural, row.strategy, legacyscheme.Scheme)
}

func makeBuiltin(gvk policies.GroupVersionKind, plural string, s strategy, scheme *runtime.Scheme) *builtin {
	b := &builtin{
		gvk:      gvk,
		resource: policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: plural},
		strategy: s,
		scheme:   scheme,
		internal: schema.GroupVersion{Group: gvk.Group, Version: runtime.APIVersionInternal},
	}
	b.typ = scheme.KnownTypes(schema.GroupVersion{Group: gvk.Group, Version: gvk.Version})[gvk.Kind]
	b.life = lifetimeOf(reflect.New(b.typ).Interface(), gvk)
	b.storage = schema.GroupVersion{Group: gvk.Group, Version: gvk.Version}
	if preferred := scheme.PrioritizedVersionsForGroup(gvk.Group); len(preferred) > 0 && scheme.Recognizes(preferred[0].WithKind(gvk.Kind)) {
		b.storage = preferred[0]
	}
	ctx := genericapirequest.WithRequestInfo(context.Background(), &genericapirequest.RequestInfo{
		IsResourceRequest: true, Verb: "create", APIPrefix: "apis",
		APIGroup: gvk.Group, APIVersion: gvk.Version, Resource: plural,
	})
	// The strategies log differences between two of their own validations, which is nothing for our users.
	b.ctx = klog.NewContext(ctx, logr.Discard())
	return b
}

// placeholder stands for what only a client or the API server knows, where validation asks that something is there.
const (
	placeholderNamespace = "default"
	placeholderUID       = "00000000-0000-0000-0000-000000000000"
	placeholderSuffix    = "xxxxx" // what a generated name ends with
	maxGenerateName      = 63 - len(placeholderSuffix)
)

// made is an object in the course of being created: the internal type of k8s.io/kubernetes.
type made struct {
	kind      *builtin
	object    runtime.Object
	meta      metav1.Object
	written   map[string]any
	named     bool // the name is a placeholder
	spaced    bool // the namespace is a placeholder
	decode    []policies.Violation
	decodable bool     // nothing but unknown fields stands in decode
	meant     []string // the fields that unknown ones are slips of
}

// read decodes, defaults and converts what was written.
func (b *builtin) read(o *policies.Object) (*made, error) {
	d := decoder{path: make([]step, 0, 16)}
	versioned := reflect.New(b.typ)
	d.value(planOf(b.typ), o.Map(), versioned.Elem())
	m := &made{kind: b, written: o.Map(), decodable: len(d.mistyped) == 0}
	if len(d.mistyped)+len(d.unknown) > 0 {
		m.decode, m.meant = d.violations(), d.meant
	}
	if !m.decodable {
		return m, nil
	}
	obj := versioned.Interface().(runtime.Object)
	b.scheme.Default(obj)
	internal, err := b.scheme.UnsafeConvertToVersion(obj, b.internal)
	if err != nil {
		return nil, fmt.Errorf("%s: convert: %w", o, err)
	}
	m.object = internal
	m.meta, err = meta.Accessor(internal)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	return m, nil
}

// create does what the API server does when the object is posted, up to storing it. It returns what the API server would
// refuse and what it would warn of.
func (m *made) create() (errs field.ErrorList, warnings []string, err error) {
	s := m.kind.strategy
	ctx := warning.WithWarningRecorder(m.context(), recorder{&warnings})
	if err := m.prepare(ctx); err != nil {
		return nil, nil, err
	}
	errs = m.withMetaErrors(s.Validate(ctx, m.object))
	onRead(m.object)
	if len(errs) == 0 {
		errs = beyond(m.object)
	}
	if len(errs) == 0 {
		warnings = append(warnings, s.WarningsOnCreate(ctx, m.object)...)
		s.Canonicalize(m.object)
		errs = end(ctx, m.object)
	}
	return errs, warnings, nil
}

// prepare makes of the object what the API server validates when it is posted.
func (m *made) prepare(ctx context.Context) error {
	rest.WipeObjectMetaSystemFields(m.meta)
	m.meta.SetUID(placeholderUID)
	m.meta.SetResourceVersion("")
	m.meta.SetManagedFields(nil)
	unnamed := m.meta.GetName() == ""
	if base := m.meta.GetGenerateName(); base != "" && unnamed {
		m.meta.SetName(base) // as some kinds leave it
		if m.kind.strategy.GenerateName("x") != "x" {
			m.meta.SetName(base[:min(len(base), maxGenerateName)] + placeholderSuffix)
		}
	}
	m.fillNamespace()
	if err := begin(ctx, m.object); err != nil {
		return fmt.Errorf("admission plugin: %w", err)
	}
	m.kind.strategy.PrepareForCreate(ctx, m.object)
	m.named = unnamed && m.meta.GetName() != ""
	return nil
}

// update does what the API server does when m is applied over old, up to storing it. An old object without a uid was never in a
// cluster: it is the manifest that the new one takes the place of, and goes through creation first.
func (m *made) update(old *made) (errs field.ErrorList, warnings []string, err error) {
	s := m.kind.strategy
	ctx := warning.WithWarningRecorder(m.context(), recorder{&warnings})
	var wrote func(path ...any) bool
	if old.meta.GetUID() == "" {
		if err := old.prepare(m.context()); err != nil {
			return nil, nil, err
		}
		settle(old.object)
		wrote = func(path ...any) bool {
			v, ok := policies.Lookup(old.written, path)
			return ok && v != nil
		}
	}
	m.fillNamespace()
	if m.meta.GetName() == "" {
		m.meta.SetName(old.meta.GetName())
	}
	if err := beginUpdate(ctx, m.object); err != nil {
		return nil, nil, fmt.Errorf("admission plugin: %w", err)
	}
	m.carry(old, wrote)
	if old.meta.GetResourceVersion() == "" {
		old.meta.SetResourceVersion("1")
	}
	if m.meta.GetResourceVersion() == "" {
		m.meta.SetResourceVersion(old.meta.GetResourceVersion())
	}
	m.meta.SetGeneration(old.meta.GetGeneration())
	m.meta.SetSelfLink("")
	s.PrepareForUpdate(ctx, m.object, old.object)
	if m.meta.GetUID() == "" {
		m.meta.SetUID(old.meta.GetUID())
	}
	if created := old.meta.GetCreationTimestamp(); !created.IsZero() {
		m.meta.SetCreationTimestamp(created)
	}
	if deleted := old.meta.GetDeletionTimestamp(); !deleted.IsZero() {
		m.meta.SetDeletionTimestamp(deleted)
	}
	if grace := old.meta.GetDeletionGracePeriodSeconds(); grace != nil && m.meta.GetDeletionGracePeriodSeconds() == nil {
		m.meta.SetDeletionGracePeriodSeconds(grace)
	}
	errs = m.withMetaErrors(s.ValidateUpdate(ctx, m.object, old.object))
	errs = addNew(errs, apivalidation.ValidateObjectMetaAccessorUpdate(m.meta, old.meta, field.NewPath("metadata")))
	if len(errs) == 0 {
		errs = beyond(m.object)
	}
	if len(errs) == 0 {
		warnings = append(warnings, s.WarningsOnUpdate(ctx, m.object, old.object)...)
	}
	return errs, warnings, nil
}

func (m *made) context() context.Context {
	return genericapirequest.WithNamespace(m.kind.ctx, m.meta.GetNamespace())
}

// fillNamespace puts the object where its client would: the namespace is the client's to choose when the manifest has none,
// and the API server clears it from what is cluster-scoped.
func (m *made) fillNamespace() {
	switch scoped := m.kind.strategy.NamespaceScoped(); {
	case !scoped:
		m.meta.SetNamespace("")
	case m.meta.GetNamespace() == "":
		m.spaced = true
		m.meta.SetNamespace(placeholderNamespace)
	}
}

// withMetaErrors adds what the API server says of every kind's metadata, which it asks only of what its kind lets pass.
func (m *made) withMetaErrors(errs field.ErrorList) field.ErrorList {
	return addNew(errs, apivalidation.ValidateObjectMetaAccessor(m.meta, m.kind.strategy.NamespaceScoped(), segmentName, field.NewPath("metadata")))
}

// segmentName is the rule for names that the API server asks of every kind.
func segmentName(name string, prefix bool) []string {
	if prefix {
		return names.IsPathSegmentPrefix(name)
	}
	return names.IsPathSegmentName(name)
}

// addNew adds those of more that are about fields that errs says nothing of.
func addNew(errs, more field.ErrorList) field.ErrorList {
	if len(errs) == 0 {
		return more
	}
	said := map[string]bool{}
	for _, e := range errs {
		said[e.Field] = true
	}
	for _, e := range more {
		if !said[e.Field] {
			errs = append(errs, e)
		}
	}
	return errs
}

type recorder struct{ to *[]string }

func (r recorder) AddWarning(_, text string) { *r.to = append(*r.to, text) }

// stored converts back to the version as written, as the API server answers: what it stores, decoded and defaulted anew.
func (m *made) stored() (map[string]any, error) {
	gv := schema.GroupVersion{Group: m.kind.gvk.Group, Version: m.kind.gvk.Version}
	// Conversion shares memory with its result. Nothing reads the internal object any more.
	versioned, err := m.kind.scheme.UnsafeConvertToVersion(m.object, m.kind.storage)
	if err != nil {
		return nil, fmt.Errorf("convert to storage: %w", err)
	}
	if !m.kind.jsonOnly {
		v := reflect.ValueOf(versioned).Elem()
		forgetEmpty(planOf(v.Type()), v)
	}
	m.kind.scheme.Default(versioned)
	if m.kind.storage != gv {
		internal, err := m.kind.scheme.UnsafeConvertToVersion(versioned, m.kind.internal)
		if err != nil {
			return nil, fmt.Errorf("convert from storage: %w", err)
		}
		if versioned, err = m.kind.scheme.UnsafeConvertToVersion(internal, gv); err != nil {
			return nil, fmt.Errorf("convert back: %w", err)
		}
	}
	v, err := encodedAs(versioned, m.kind.jsonOnly)
	if err != nil {
		return nil, err
	}
	content := v.(map[string]any)
	content["apiVersion"], content["kind"] = m.kind.gvk.APIVersion(), m.kind.gvk.Kind
	m.stripAssigned(content)
	return content, nil
}

// deprecated is the API server's warning for a version that will go away; "" for others.
func (b *builtin) deprecated(minor int) string {
	obj, ok := reflect.New(b.typ).Interface().(runtime.Object)
	if !ok || !deprecation.IsDeprecated(obj, 1, minor) {
		return ""
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: b.gvk.Group, Version: b.gvk.Version, Kind: b.gvk.Kind})
	return deprecation.WarningMessage(obj)
}
