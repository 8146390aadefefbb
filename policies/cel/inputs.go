package cel

import (
	"fmt"
	"maps"

	celgo "github.com/google/cel-go/cel"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"

	"gitgate.dev/gitgate/policies"
)

// inputs are the variables of a request, made once for all policies that see it alike.
type inputs struct {
	object, oldObject any
	namespace         any
	request           map[string]any
	unmatched         map[string]any // the request as match conditions see it: of the resource that was asked for
	metadata          map[string]any // of an object that was not read from a server, so that what a server fills in is missing
}

// lacks says whether e refers to what the API server has filled into the object when it asks policies, and this object, which
// it has not seen yet, does not have.
func (in *inputs) lacks(e *expression) bool {
	if in.metadata == nil {
		return false
	}
	for _, field := range e.assigned {
		if _, ok := in.metadata[field]; !ok {
			return true
		}
	}
	return false
}

type inputsKey struct {
	operation policies.Operation
	oldKnown  bool
	as        target
}

// inputsOf makes the variables for policies that see the request as the given target.
func (p *policy) inputsOf(r *request, as target) (*inputs, error) {
	v, err := r.change.Derive(inputsKey{r.operation, r.oldKnown, as}, func() (any, error) {
		object, err := p.contentAs(r, r.change.Object, as.kind)
		if err != nil {
			return nil, err
		}
		old, err := p.contentAs(r, r.change.Old, as.kind)
		if err != nil {
			return nil, err
		}
		in := &inputs{object: object, oldObject: old, namespace: namespaceOf(r), request: requestMap(r, as)}
		if content, ok := object.(map[string]any); ok && r.operation != policies.Connect {
			in.metadata, _ = content["metadata"].(map[string]any)
			in.object = named(content, in.metadata)
		}
		in.unmatched = in.request
		if r.resource != as.resource {
			in.unmatched = requestMap(r, target{r.resource, as.kind})
		}
		if !r.oldKnown {
			in.oldObject = unknown(needOld)
		}
		return in, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*inputs), nil
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
func (p *policy) contentAs(r *request, o *policies.Object, kind policies.GroupVersionKind) (any, error) {
	switch {
	case o == nil:
		return nil, nil
	case kind == r.kind:
		return o.Settled(), nil
	case p.convert == nil:
		return nil, fmt.Errorf("%s cannot be converted from %s to %s, which the policy is written for", o, r.kind.APIVersion(), kind.APIVersion())
	}
	m, err := p.convert(r.change.Set, o, kind)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be converted from %s to %s, which the policy is written for: %w", o, r.kind.APIVersion(), kind.APIVersion(), err)
	}
	return m, nil
}

// requestMap is the variable "request": an AdmissionRequest (k8s.io/apiserver/pkg/admission/plugin/cel, CreateAdmissionRequest)
// as its JSON would be. object and oldObject are no part of it.
func requestMap(r *request, as target) map[string]any {
	m := map[string]any{
		"uid":             "",
		"kind":            kindMap(as.kind),
		"resource":        resourceMap(as.resource),
		"requestKind":     kindMap(r.kind),
		"requestResource": resourceMap(r.resource),
		"operation":       string(r.operation),
		"dryRun":          r.change.DryRun,
		"userInfo":        unknown(needActor),
		"options":         unknown(needOptions),
	}
	for key, value := range map[string]string{
		"subResource": r.resource.Subresource, "requestSubResource": r.resource.Subresource, "name": r.name, "namespace": r.namespace,
	} {
		if value != "" {
			m[key] = value
		}
	}
	if r.change.Actor != nil {
		m["userInfo"] = userMap(r.change.Actor)
	}
	if r.change.Options != nil {
		m["options"] = r.change.Options
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
func namespaceOf(r *request) any {
	if r.isSelf || r.namespace == "" {
		return nil
	}
	if r.change.Holder == nil {
		return unknown(needNamespace)
	}
	holder := r.change.Holder.Settled()
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
	*inputs
	request   map[string]any
	namespace any
	params    any
	variables *variables
	local     map[string]any // iteration variables, when a part of an expression is evaluated by itself
}

// ResolveName implements the activation of CEL.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case admissioncel.ObjectVarName:
		return a.object, true
	case admissioncel.OldObjectVarName:
		return a.oldObject, true
	case admissioncel.RequestVarName:
		return a.request, true
	case admissioncel.NamespaceVarName:
		return a.namespace, true
	case admissioncel.ParamsVarName:
		return a.params, true
	case admissioncel.VariableVarName:
		return a.variables, a.variables != nil
	case admissioncel.AuthorizerVarName, admissioncel.RequestResourceAuthorizerVarName:
		return unknown(needAuthorizer), true
	}
	v, ok := a.local[name]
	return v, ok
}

// Parent implements the activation of CEL: there is none.
func (a *activation) Parent() celgo.Activation { return nil }
