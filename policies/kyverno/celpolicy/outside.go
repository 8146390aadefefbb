package celpolicy

import (
	"fmt"
	"reflect"
	"slices"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"gitgate.dev/gitgate/policies"
)

// The types of what leads outside an expression, with Kyverno's names (github.com/kyverno/sdk/extensions/cel/libs).
var (
	resourceType = types.NewOpaqueType("resource.Context")
	gvrType      = types.NewOpaqueType("schema.GroupVersionResource")
	globalType   = types.NewOpaqueType("globalcontext.Context")
	httpType     = types.NewOpaqueType("http.Context")
	imageType    = types.NewOpaqueType("imagedata.Context")
)

// outsiders are the variables whose functions ask a cluster or the network.
var outsiders = map[string]*types.Type{"resource": resourceType, "globalContext": globalType, "http": httpType, "image": imageType}

// handle is the value of such a variable: it leads to what is known in one evaluation.
type handle struct {
	value
	*evaluation
}

// resourceID is the value of resource.toGVR.
type resourceID struct {
	value
	policies.Resource
}

// value is what opaque values have in common.
type value struct{ t *types.Type }

// ConvertToNative implements ref.Val.
func (v value) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be converted to %s", v.t.TypeName(), t)
}

// ConvertToType implements ref.Val.
func (v value) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return v.t
	}
	return types.NewErr("%s cannot be converted to %s", v.t.TypeName(), t.TypeName())
}

// Equal implements ref.Val: there is one of each.
func (v value) Equal(other ref.Val) ref.Val { return types.Bool(other.Type() == v.t) }

// Type implements ref.Val.
func (v value) Type() ref.Type { return v.t }

// Value implements ref.Val.
func (v value) Value() any { return v.t.TypeName() }

// outside declares the functions that ask a cluster or the network, each by both of Kyverno's spellings. In a policy of a namespace
// resources are asked for in that namespace.
func outside(namespaced bool) celgo.EnvOption {
	text, texts, object := types.StringType, types.NewMapType(types.StringType, types.StringType), types.NewMapType(types.StringType, types.AnyType)
	place := []*types.Type{text}
	if namespaced {
		place = nil
	}
	signature := func(parts ...[]*types.Type) []*types.Type { return slices.Concat(parts...) }
	one := func(t ...*types.Type) []*types.Type { return t }
	d := declarations{}
	d.add("List", "list", object, list(namespaced),
		signature(one(resourceType, text, text), place), signature(one(resourceType, text, text), place, one(texts)),
		signature(one(resourceType, gvrType), place), signature(one(resourceType, gvrType), place, one(texts)))
	d.add("Get", "get", object, get(namespaced),
		signature(one(resourceType, text, text), place, one(text)), signature(one(resourceType, gvrType), place, one(text)))
	d.add("Get", "get", types.DynType, global, one(globalType, text), one(globalType, text, text))
	d.add("Get", "get", types.AnyType, request("GET"), one(httpType, text), one(httpType, text, texts))
	posts := [][]*types.Type{signature(one(resourceType, text, text), place, one(object))}
	if !namespaced {
		posts = append(posts, one(resourceType, text, text, object))
	}
	d.add("Post", "post", object, post, posts...)
	d.add("Post", "post", types.AnyType, request("POST"), one(httpType, text, types.AnyType), one(httpType, text, types.AnyType, texts))
	d.add("Client", "client", httpType, client, one(httpType, text))
	d.add("ToGVR", "toGVR", gvrType, toGVR, one(resourceType, text, text))
	d.add("GetMetadata", "getMetadata", types.DynType, metadata, one(imageType, text))
	options := d.options
	for name, t := range outsiders {
		options = append(options, celgo.Variable(name, t))
	}
	return func(e *celgo.Env) (*celgo.Env, error) { return e.Extend(options...) }
}

// declarations collects functions.
type declarations struct{ options []celgo.EnvOption }

func (d *declarations) add(pascal, camel string, result *types.Type, f func(*evaluation, []ref.Val) ref.Val, signatures ...[]*types.Type) {
	binding := celgo.FunctionBinding(func(args ...ref.Val) ref.Val {
		h, ok := args[0].(*handle)
		if !ok {
			return types.MaybeNoSuchOverloadErr(args[0])
		}
		return f(h.evaluation, args[1:])
	})
	for _, name := range []string{pascal, camel} {
		var overloads []celgo.FunctionOpt
		for _, s := range signatures {
			id := name
			for _, t := range s {
				id += "_" + t.String()
			}
			overloads = append(overloads, celgo.MemberOverload(id, s, result, binding))
		}
		d.options = append(d.options, celgo.Function(name, overloads...))
	}
}

// texts reads arguments that are strings.
func texts(args []ref.Val) ([]string, ref.Val) {
	out := make([]string, len(args))
	for i, arg := range args {
		s, ok := arg.(types.String)
		if !ok {
			return nil, types.MaybeNoSuchOverloadErr(arg)
		}
		out[i] = string(s)
	}
	return out, nil
}

// located splits the arguments of a function about resources: which resource, in which namespace, and the rest.
func located(ev *evaluation, args []ref.Val, namespaced bool) (res policies.Resource, namespace string, rest []ref.Val, wrong ref.Val) {
	if id, ok := args[0].(*resourceID); ok {
		res, rest = id.Resource, args[1:]
	} else {
		named, wrong := texts(args[:2])
		if wrong != nil {
			return res, "", nil, wrong
		}
		res.Group, res.Version = policies.ParseAPIVersion(named[0])
		res.Resource, rest = named[1], args[2:]
	}
	if namespaced {
		return res, ev.program.policy.namespace(), rest, nil
	}
	s, ok := rest[0].(types.String)
	if !ok {
		return res, "", nil, types.MaybeNoSuchOverloadErr(rest[0])
	}
	return res, string(s), rest[1:], nil
}

func get(namespaced bool) func(*evaluation, []ref.Val) ref.Val {
	return func(ev *evaluation, args []ref.Val) ref.Val {
		res, namespace, rest, wrong := located(ev, args, namespaced)
		if wrong != nil {
			return wrong
		}
		name, ok := rest[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(rest[0])
		}
		return ev.getResource(res, namespace, string(name))
	}
}

func list(namespaced bool) func(*evaluation, []ref.Val) ref.Val {
	return func(ev *evaluation, args []ref.Val) ref.Val {
		res, namespace, rest, wrong := located(ev, args, namespaced)
		if wrong != nil {
			return wrong
		}
		var labels map[string]string
		if len(rest) > 0 {
			native, err := rest[0].ConvertToNative(reflect.TypeFor[map[string]string]())
			if err != nil {
				return types.WrapErr(err)
			}
			labels = native.(map[string]string)
		}
		return ev.listResources(res, namespace, labels)
	}
}

func post(ev *evaluation, args []ref.Val) ref.Val {
	named, wrong := texts(args[:2])
	if wrong != nil {
		return wrong
	}
	return ev.lack(policies.KnowsCluster, fmt.Sprintf("what the cluster answers to a new %s of %s", named[1], named[0]))
}

func toGVR(ev *evaluation, args []ref.Val) ref.Val {
	named, wrong := texts(args)
	if wrong != nil {
		return wrong
	}
	group, version := policies.ParseAPIVersion(named[0])
	if api := ev.program.policy.options.API; api != nil {
		kind := policies.GroupVersionKind{Group: group, Version: version, Kind: named[1]}
		if res, _, known := api.Resource(ev.change.Set, kind); known {
			return &resourceID{value{gvrType}, res}
		}
	}
	return ev.lack(policies.KnowsCluster, fmt.Sprintf("which resource the cluster serves as %s %s", named[0], named[1]))
}

func global(ev *evaluation, args []ref.Val) ref.Val {
	named, wrong := texts(args)
	if wrong != nil {
		return wrong
	}
	named = append(named, "")
	if answers := ev.program.policy.options.Answers; answers != nil && answers.Global != nil {
		return given(answers.Global(named[0], named[1]))
	}
	return ev.lack(policies.KnowsCluster, "GlobalContextEntry "+named[0])
}

func request(method string) func(*evaluation, []ref.Val) ref.Val {
	return func(ev *evaluation, args []ref.Val) ref.Val {
		named, wrong := texts(args[:1])
		if wrong != nil {
			return wrong
		}
		if answers := ev.program.policy.options.Answers; answers != nil && answers.HTTP != nil {
			return given(answers.HTTP(method, named[0]))
		}
		return ev.lack(policies.Online, method+" "+named[0])
	}
}

func client(ev *evaluation, _ []ref.Val) ref.Val { return &handle{value{httpType}, ev} }

func metadata(ev *evaluation, args []ref.Val) ref.Val {
	named, wrong := texts(args)
	if wrong != nil {
		return wrong
	}
	if answers := ev.program.policy.options.Answers; answers != nil && answers.Image != nil {
		return given(answers.Image(named[0]))
	}
	return ev.lack(policies.Online, "the registry's metadata of image "+named[0])
}

// given is an answer of a test.
func given[T any](v T, err error) ref.Val {
	if err != nil {
		return types.WrapErr(err)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}
