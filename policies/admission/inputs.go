package admission

import (
	"fmt"
	"maps"
	"sync"

	celgo "github.com/google/cel-go/cel"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"

	"gitgate.dev/gitgate/policies"
)

// Inputs are the variables of a request, made once for all policies that see it alike.
type Inputs struct {
	Object, OldObject any
	Namespace         any
	Request           func() map[string]any // made once it is asked for: few policies do
	Unmatched         func() map[string]any // the request as match conditions see it: of the resource that was asked for
	metadata          map[string]any        // of an object that was not read from a server, so that what a server fills in is missing
}

// Lacks says whether e refers to what the API server has filled into the object when it asks policies, and this object, which
// it has not seen yet, does not have.
func (in *Inputs) Lacks(e *Expression) bool {
	if in.metadata == nil {
		return false
	}
	for _, field := range e.Assigned {
		if _, ok := in.metadata[field]; !ok {
			return true
		}
	}
	return false
}

type inputsKey struct {
	operation policies.Operation
	oldKnown  bool
	as        Target
}

// InputsOf makes the variables for policies that see the request as the given target. convert is asked when that is another version
// of the object; nil when there is nobody to ask.
func InputsOf(r *Request, as Target, convert Converter) (*Inputs, error) {
	v, err := r.Change.Derive(inputsKey{r.Operation, r.OldKnown, as}, func() (any, error) {
		object, err := contentAs(r, r.Change.Object, as.Kind, convert)
		if err != nil {
			return nil, err
		}
		old, err := contentAs(r, r.Change.Old, as.Kind, convert)
		if err != nil {
			return nil, err
		}
		in := &Inputs{Object: object, OldObject: old, Namespace: namespaceOf(r), Request: sync.OnceValue(func() map[string]any { return requestMap(r, as) })}
		if content, ok := object.(map[string]any); ok && r.Operation != policies.Connect {
			in.metadata, _ = content["metadata"].(map[string]any)
			in.Object = named(content, in.metadata)
		}
		in.Unmatched = in.Request
		if r.Resource != as.Resource {
			in.Unmatched = sync.OnceValue(func() map[string]any { return requestMap(r, Target{r.Resource, as.Kind}) })
		}
		if !r.OldKnown {
			in.OldObject = Unknown(NeedOld)
		}
		return in, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Inputs), nil
}

// named is content with a name in place of one that is to be generated: policies are asked when it is.
func named(content, metadata map[string]any) map[string]any {
	name := generatedName(metadata)
	if name == "" {
		return content
	}
	metadata = maps.Clone(metadata)
	metadata["name"] = name
	content = maps.Clone(content)
	content["metadata"] = metadata
	return content
}

// generatedName is a name as the API server would generate it (k8s.io/apiserver/pkg/storage/names), or "" where nothing asks for
// one. The random end is not known; its length and its letters are.
func generatedName(metadata map[string]any) string {
	prefix, _ := metadata["generateName"].(string)
	if name, _ := metadata["name"].(string); name != "" || prefix == "" {
		return ""
	}
	const longest, suffix = 63, "xxxxx"
	return prefix[:min(len(prefix), longest-len(suffix))] + suffix
}

// contentAs is the stored form of o in the version that a policy wants to see; nil, which CEL sees as null, for no object.
func contentAs(r *Request, o *policies.Object, kind policies.GroupVersionKind, convert Converter) (any, error) {
	switch {
	case o == nil:
		return nil, nil
	case kind == r.Kind:
		return o.Settled(), nil
	case convert == nil:
		return nil, fmt.Errorf("%s cannot be converted from %s to %s, which the policy is written for", o, r.Kind.APIVersion(), kind.APIVersion())
	}
	m, err := convert(r.Change.Set, o, kind)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be converted from %s to %s, which the policy is written for: %w", o, r.Kind.APIVersion(), kind.APIVersion(), err)
	}
	return m, nil
}

// requestMap is the variable "request": an AdmissionRequest (k8s.io/apiserver/pkg/admission/plugin/cel, CreateAdmissionRequest)
// as its JSON would be. object and oldObject are no part of it.
func requestMap(r *Request, as Target) map[string]any {
	m := map[string]any{
		"uid":             "",
		"kind":            kindMap(as.Kind),
		"resource":        resourceMap(as.Resource),
		"requestKind":     kindMap(r.Kind),
		"requestResource": resourceMap(r.Resource),
		"operation":       string(r.Operation),
		"dryRun":          r.Change.DryRun,
		"userInfo":        Unknown(NeedActor),
		"options":         Unknown(NeedOptions),
	}
	for key, value := range map[string]string{
		"subResource": r.Resource.Subresource, "requestSubResource": r.Resource.Subresource, "name": r.Name, "namespace": r.Namespace,
	} {
		if value != "" {
			m[key] = value
		}
	}
	if r.Change.Actor != nil {
		m["userInfo"] = userMap(r.Change.Actor)
	}
	if r.Change.Options != nil {
		m["options"] = r.Change.Options
	}
	return m
}

func kindMap(k policies.GroupVersionKind) map[string]any {
	return map[string]any{"group": k.Group, "version": k.Version, "kind": k.Kind}
}

func resourceMap(r policies.Resource) map[string]any {
	return map[string]any{"group": r.Group, "version": r.Version, "resource": r.Resource}
}

func userMap(a *policies.Actor) map[string]any {
	m := map[string]any{}
	if a.User != "" {
		m["username"] = a.User
	}
	if a.UID != "" {
		m["uid"] = a.UID
	}
	if len(a.Groups) > 0 {
		m["groups"] = anyList(a.Groups)
	}
	if len(a.Extra) > 0 {
		extra := make(map[string]any, len(a.Extra))
		for k, v := range a.Extra {
			extra[k] = anyList(v)
		}
		m["extra"] = extra
	}
	return m
}

func anyList(l []string) []any {
	out := make([]any, len(l))
	for i, s := range l {
		out[i] = s
	}
	return out
}

// namespaceOf is the variable "namespaceObject": of the Namespace that holds the object, what CreateNamespaceObject of the API
// server leaves of it; null for an object in none.
func namespaceOf(r *Request) any {
	if r.Self || r.Namespace == "" {
		return nil
	}
	if r.Change.Holder == nil {
		return Unknown(NeedNamespace)
	}
	holder := r.Change.Holder.Settled()
	out := map[string]any{"metadata": map[string]any{}, "spec": map[string]any{}, "status": map[string]any{}}
	for _, key := range []string{"spec", "status"} {
		if m, ok := holder[key].(map[string]any); ok {
			out[key] = m
		}
	}
	if meta, ok := holder["metadata"].(map[string]any); ok {
		kept := map[string]any{}
		for _, key := range []string{"name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
			"deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers"} {
			if v, ok := meta[key]; ok {
				kept[key] = v
			}
		}
		out["metadata"] = kept
	}
	return out
}

// activation gives an expression its variables.
type activation struct {
	*Inputs
	request   func() map[string]any
	namespace any
	params    any
	variables *variables
}

// ResolveName implements the activation of CEL.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case admissioncel.ObjectVarName:
		return a.Object, true
	case admissioncel.OldObjectVarName:
		return a.OldObject, true
	case admissioncel.RequestVarName:
		return a.request(), true
	case admissioncel.NamespaceVarName:
		return a.namespace, true
	case admissioncel.ParamsVarName:
		return a.params, true
	case admissioncel.VariableVarName:
		return a.variables, a.variables != nil
	case admissioncel.AuthorizerVarName, admissioncel.RequestResourceAuthorizerVarName:
		return Unknown(NeedAuthorizer), true
	}
	return nil, false
}

// Parent implements the activation of CEL: there is none.
func (a *activation) Parent() celgo.Activation { return nil }
