package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/go-logr/logr"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	structuralpruning "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/klog/v2"

	"gitgate.dev/gitgate/policies"
)

// customObject is an object of a custom kind, decoded and defaulted.
type customObject struct {
	content   map[string]any // its own memory
	decode    []policies.Violation
	decodable bool // nothing but unknown fields stands in decode
	named     bool // the name is a placeholder
	spaced    bool // the namespace is a placeholder
}

type (
	customKey       struct{ version *customVersion }
	customAdmitKey  struct{ version *customVersion }
	customUpdateKey struct {
		version *customVersion
		old     *policies.Object
	}
	customStoredKey struct{ version *customVersion }
)

// admitCustom is the API server's answer on o, of a kind that d defines.
func (d *definition) admitCustom(o, old *policies.Object) *Admission {
	v := d.versions[o.Kind.Version]
	if v == nil || !v.spec.Served {
		return &Admission{Known: true, Violations: []policies.Violation{d.unserved(o.Kind.Version)}}
	}
	var key any = customAdmitKey{v}
	if old != nil {
		key = customUpdateKey{v, old}
	}
	made, _ := o.Derive(key, func() (any, error) {
		a := &Admission{Known: true}
		if _, err := guarded(func() (struct{}, error) { return struct{}{}, v.admit(a, o, old) }); err != nil {
			a.Err = fmt.Errorf("%s: %w", o, err)
		}
		return a, nil
	})
	return made.(*Admission)
}

// unserved says that d does not serve a version, and which it serves.
func (d *definition) unserved(version string) policies.Violation {
	var served []string
	for _, v := range d.crd.Spec.Versions {
		if v.Served {
			served = append(served, d.crd.Spec.Group+"/"+v.Name)
		}
	}
	v := policies.Violation{Rule: ruleNotServed, Path: policies.Path{"apiVersion"}}
	v.Message = fmt.Sprintf("apiVersion %s/%s is not served by %s", d.crd.Spec.Group, version, d.object)
	switch len(served) {
	case 0:
		v.Message += ", which serves no version"
	default:
		v.Fix = "use " + orList(served)
	}
	return v
}

// storedCustom is o as the API server would store it.
func (d *definition) storedCustom(o *policies.Object) (map[string]any, error) {
	v := d.versions[o.Kind.Version]
	if v == nil {
		return nil, errors.New(d.unserved(o.Kind.Version).Message)
	}
	made, err := o.Derive(customStoredKey{v}, func() (any, error) {
		return guarded(func() (map[string]any, error) {
			c, err := v.decoded(o)
			if err != nil {
				return nil, err
			}
			if !c.decodable {
				return nil, &UnreadableError{Violations: c.decode}
			}
			return v.stored(c)
		})
	})
	if err != nil {
		return nil, err
	}
	return made.(map[string]any), nil
}

func (v *customVersion) stored(c *customObject) (map[string]any, error) {
	f, err := v.form()
	if err != nil {
		return nil, err
	}
	content := maps.Clone(c.content)
	if f.hasStatus {
		delete(content, "status")
	}
	if content, err = v.keep(f, content); err != nil {
		return nil, err
	}
	if metadata, ok := content["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		content["metadata"] = metadata
		rest.WipeObjectMetaSystemFields(&unstructured.Unstructured{Object: content})
		stripAssigned(metadata, c.named, c.spaced)
	}
	return content, nil
}

// keep is content as it comes back from storage, which holds one version: what that version does not have is lost, and its
// defaults are filled in. Only a CRD that converts by not converting can be followed; what a webhook would do is not known.
func (v *customVersion) keep(f *customForm, content map[string]any) (map[string]any, error) {
	storage := v.definition.storage
	if storage == nil || storage == v || !v.definition.plain() {
		return content, nil
	}
	stored, err := storage.form()
	if err != nil {
		return nil, err
	}
	content = clone(content).(map[string]any)
	structuralpruning.Prune(content, stored.structural, true)
	structuraldefaulting.PruneNonNullableNullsWithoutDefaults(content, stored.structural)
	structuraldefaulting.Default(content, stored.structural)
	structuralpruning.Prune(content, f.structural, true)
	structuraldefaulting.PruneNonNullableNullsWithoutDefaults(content, f.structural)
	return content, nil
}

// admit asks the API server's strategy about the creation of o, or about its update from old.
func (v *customVersion) admit(a *Admission, o, old *policies.Object) error {
	c, err := v.decoded(o)
	if err != nil {
		return err
	}
	a.Violations = append(a.Violations, c.decode...)
	v.warnDeprecated(a)
	if !c.decodable {
		return nil
	}
	s, err := v.strategy()
	if err != nil {
		return err
	}
	var before *customObject
	if old != nil {
		if before, err = v.before(a, old); err != nil {
			return err
		}
	}
	// The CEL rules log what they cannot tell their caller.
	ctx := klog.NewContext(context.Background(), logr.Discard())
	u := &unstructured.Unstructured{Object: clone(c.content).(map[string]any)}
	var errs field.ErrorList
	var warnings []string
	if before == nil {
		rest.WipeObjectMetaSystemFields(u)
		s.PrepareForCreate(ctx, u)
		u.SetUID(placeholderUID)
		u.SetResourceVersion("")
		u.SetManagedFields(nil)
		errs, warnings = s.Validate(ctx, u), s.WarningsOnCreate(ctx, u)
	} else {
		was := &unstructured.Unstructured{Object: clone(before.content).(map[string]any)}
		carryMeta(u, was, c, before)
		s.PrepareForUpdate(ctx, u, was)
		errs, warnings = s.ValidateUpdate(ctx, u, was), s.WarningsOnUpdate(ctx, u, was)
	}
	v.tell(a, o, u.Object, errs, warnings)
	return nil
}

// before is the object before the change as this version of the kind shows it: another version of it differs in nothing but
// apiVersion when the CRD converts by not converting.
func (v *customVersion) before(a *Admission, old *policies.Object) (*customObject, error) {
	content := old.Map()
	if old.Kind.Version != v.spec.Name {
		if !v.definition.plain() {
			if f, err := v.form(); err == nil && f.transition {
				a.Warnings = append(a.Warnings, policies.Violation{
					Rule: ruleNotJudged, Path: policies.Path{"apiVersion"}, Warning: true,
					Message: fmt.Sprintf("the rules on how the object may change were not asked: the object before the change is in %s, which only the conversion webhook of %s can convert", old.Kind.APIVersion(), v.definition.object),
				})
			}
			return nil, nil
		}
		content = maps.Clone(content)
		content["apiVersion"] = v.definition.crd.Spec.Group + "/" + v.spec.Name
		return readable(v.decode(content))
	}
	return readable(v.decoded(old))
}

// readable drops an object that cannot be read: the API server never took it, so that what replaces it is created.
func readable(c *customObject, err error) (*customObject, error) {
	if err != nil || !c.decodable {
		return nil, err
	}
	return c, nil
}

// carryMeta gives u what the API server assigned to the object before the change and a manifest does not say.
func carryMeta(u, old *unstructured.Unstructured, c, before *customObject) {
	if old.GetUID() == "" {
		old.SetUID(placeholderUID)
	}
	if old.GetResourceVersion() == "" {
		old.SetResourceVersion("1")
	}
	if u.GetResourceVersion() == "" {
		u.SetResourceVersion(old.GetResourceVersion())
	}
	if u.GetUID() == "" {
		u.SetUID(old.GetUID())
	}
	if c.named {
		u.SetName(old.GetName())
	}
	switch {
	case c.spaced:
		u.SetNamespace(old.GetNamespace())
	case before.spaced:
		old.SetNamespace(u.GetNamespace())
	}
	u.SetGeneration(old.GetGeneration())
	u.SetSelfLink("")
	if created := old.GetCreationTimestamp(); !created.IsZero() {
		u.SetCreationTimestamp(created)
	}
	if deleted := old.GetDeletionTimestamp(); deleted != nil {
		u.SetDeletionTimestamp(deleted)
	}
	if grace := old.GetDeletionGracePeriodSeconds(); grace != nil && u.GetDeletionGracePeriodSeconds() == nil {
		u.SetDeletionGracePeriodSeconds(grace)
	}
}

// warnDeprecated adds the API server's warning for a version that its CRD calls deprecated (defaultDeprecationWarning of
// customresource_handler.go).
func (v *customVersion) warnDeprecated(a *Admission) {
	if !v.spec.Deprecated {
		return
	}
	spec := v.definition.crd.Spec
	w := policies.Violation{Rule: ruleDeprecated, Path: policies.Path{"apiVersion"}, Warning: true}
	if v.spec.DeprecationWarning != nil {
		w.Message = *v.spec.DeprecationWarning
	} else {
		w.Message = fmt.Sprintf("%s/%s %s is deprecated", spec.Group, v.spec.Name, spec.Names.Kind)
		best := ""
		for _, other := range spec.Versions {
			if other.Served && !other.Deprecated && version.CompareKubeAwareVersionStrings(v.spec.Name, other.Name) < 0 &&
				(best == "" || version.CompareKubeAwareVersionStrings(best, other.Name) < 0) {
				best = other.Name
			}
		}
		if best != "" {
			w.Fix = fmt.Sprintf("use %s/%s", spec.Group, best)
		}
	}
	a.Warnings = append(a.Warnings, w)
}
