package apiserver

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"gitgate.dev/gitgate/policies"
)

// creation is an object after the API server's code went through its creation.
type creation struct {
	made     *made
	errs     field.ErrorList
	warnings []string
}

type (
	creationKey  struct{}
	admissionKey struct {
		rules *Rules
		old   *policies.Object
	}
	storedKey struct{ version string }
)

// PanicError says that the API server's code panicked on an object. Stack is for logs.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("kubernetes's own code panicked: %v", e.Value)
}

// guarded turns a panic of the API server's code into an error, as its own request handlers do: an object that brings it down
// is an object that could not be judged.
func guarded[T any](do func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return do()
}

func (b *builtin) created(o *policies.Object) (*creation, error) {
	v, err := o.Derive(creationKey{}, func() (any, error) {
		return guarded(func() (*creation, error) {
			m, err := b.read(o)
			if err != nil {
				return nil, err
			}
			c := &creation{made: m}
			if m.decodable {
				c.errs, c.warnings, err = m.create()
			}
			return c, err
		})
	})
	if err != nil {
		return nil, err
	}
	return v.(*creation), nil
}

func (r *Rules) admitCreate(b *builtin, o *policies.Object) *Admission {
	v, _ := o.Derive(admissionKey{rules: r}, func() (any, error) {
		a := &Admission{Known: true}
		c, err := b.created(o)
		if err != nil {
			a.Err = err
			return a, nil
		}
		r.tell(a, c.made, o, c.errs, c.warnings)
		return a, nil
	})
	return v.(*Admission)
}

func (r *Rules) admitUpdate(b *builtin, o, old *policies.Object) *Admission {
	v, _ := o.Derive(admissionKey{r, old}, func() (any, error) {
		a := &Admission{Known: true}
		_, err := guarded(func() (struct{}, error) { return struct{}{}, r.update(a, b, o, old) })
		if err != nil {
			a.Err = err
		}
		return a, nil
	})
	return v.(*Admission)
}

func (r *Rules) update(a *Admission, b *builtin, o, old *policies.Object) error {
	if old.Kind.GroupKind() != o.Kind.GroupKind() {
		return fmt.Errorf("%s: the object before the change is a %s, which cannot become a %s", o, old.Kind.GroupKind(), o.Kind.GroupKind())
	}
	was := r.builtin(old.Kind)
	if was == nil || neverStored(was, old) {
		*a = *r.admitCreate(b, o)
		return nil
	}
	before, err := was.read(old)
	if err != nil {
		return err
	}
	m, err := b.read(o)
	if err != nil {
		return err
	}
	var errs field.ErrorList
	var warnings []string
	if m.decodable {
		if errs, warnings, err = m.update(before); err != nil {
			return err
		}
	}
	r.tell(a, m, o, errs, warnings)
	return nil
}

// neverStored says that old is a manifest that no API server took, so that what replaces it is created.
func neverStored(b *builtin, old *policies.Object) bool {
	uid, _ := policies.Lookup(old.Map(), policies.Path{"metadata", "uid"})
	if s, _ := uid.(string); s != "" {
		return false
	}
	c, err := b.created(old)
	return err != nil || !c.made.decodable || len(c.errs) > 0
}

// maxTold bounds how many violations one object is told.
const maxTold = 1000

// tell puts what the API server's code said into words.
func (r *Rules) tell(a *Admission, m *made, o *policies.Object, errs field.ErrorList, warnings []string) {
	a.Violations = append(a.Violations, m.decode...)
	seen := map[string]bool{}
	if more := len(errs) - maxTold; more > 0 {
		errs = errs[:maxTold]
		defer func() { a.Violations = append(a.Violations, notTold(more)) }()
	}
	for _, e := range errs {
		if e.Type == field.ErrorTypeRequired && slices.Contains(m.meant, e.Field) {
			continue // it is written, with a slip in its name
		}
		v := violationOf(e, o, m)
		if key := v.Rule + "\x00" + v.Message; !seen[key] {
			seen[key] = true
			a.Violations = append(a.Violations, v)
		}
	}
	if m.decodable && len(errs) == 0 {
		for _, text := range warnings {
			a.Warnings = append(a.Warnings, warningOf(text, m))
		}
	}
	if m.decodable {
		a.Warnings = append(a.Warnings, adminAccess(m.object, m)...)
	}
	if o.Namespace != "" && !m.kind.strategy.NamespaceScoped() {
		a.Warnings = append(a.Warnings, policies.Violation{
			Rule: ruleWarning, Path: policies.Path{"metadata", "namespace"}, Warning: true, Fix: "remove the namespace",
			Message: fmt.Sprintf("metadata.namespace is ignored: %s is cluster-scoped", o.Kind.Kind),
		})
	}
	if !m.kind.served {
		a.Warnings = append(a.Warnings, notServed(m.kind))
	}
	if text := m.kind.deprecated(r.minor); text != "" {
		a.Warnings = append(a.Warnings, policies.Violation{
			Rule: ruleDeprecated, Path: policies.Path{"apiVersion"}, Message: text, Warning: true,
		})
	}
	if err := r.fit(a, o); err != nil {
		a.Err = errors.Join(a.Err, err)
	}
}

func notTold(more int) policies.Violation {
	return policies.Violation{Rule: ruleTooMany, Message: fmt.Sprintf("%d more violations are not listed", more)}
}

func notServed(b *builtin) policies.Violation {
	return policies.Violation{
		Rule: ruleNotServed, Path: policies.Path{"apiVersion"}, Warning: true,
		Message: fmt.Sprintf("%s %s is not served by default: the cluster needs --runtime-config=%s/%s=true", b.gvk.APIVersion(), b.gvk.Kind, b.gvk.APIVersion(), b.resource.Resource),
	}
}

func (r *Rules) storedBuiltin(b *builtin, o *policies.Object) (map[string]any, error) {
	v, err := o.Derive(storedKey{r.version}, func() (any, error) {
		c, err := b.created(o)
		if err != nil {
			return nil, err
		}
		if !c.made.decodable {
			return nil, &UnreadableError{Violations: c.made.decode}
		}
		stored, err := guarded(c.made.stored)
		if err != nil {
			return nil, err
		}
		return r.fitStored(stored, o)
	})
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// UnreadableError says that an object has no stored form because its fields cannot be read: Violations, which Admit tells too.
type UnreadableError struct{ Violations []policies.Violation }

func (e *UnreadableError) Error() string {
	if n := len(e.Violations); n > 1 {
		return fmt.Sprintf("%s (and %d more)", e.Violations[0].Message, n-1)
	}
	return e.Violations[0].Message
}

// admitTransient reads a request that the API server answers and forgets, such as a SubjectAccessReview.
func admitTransient(t transientKind, o *policies.Object) *Admission {
	typ := legacyscheme.Scheme.KnownTypes(schema.GroupVersion{Group: o.Kind.Group, Version: o.Kind.Version})[o.Kind.Kind]
	var d decoder
	d.value(planOf(typ), o.Map(), reflect.New(typ).Elem())
	return &Admission{Known: true, Violations: d.violations(), Warnings: []policies.Violation{{
		Rule: ruleNotStored, Path: policies.Path{"kind"}, Warning: true,
		Message: fmt.Sprintf("%s %s is a question that the API server answers and does not store: it cannot be applied from Git", o.Kind.APIVersion(), o.Kind.Kind),
	}}}
}
