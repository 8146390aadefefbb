package webhook

import (
	"errors"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// The AdmissionReview that is spoken: https://pkg.go.dev/k8s.io/api/admission/v1.
const (
	reviewGroup   = "admission.k8s.io"
	reviewVersion = reviewGroup + "/v1"
	reviewKind    = "AdmissionReview"
)

// maxUID bounds what answers and logs repeat of a request; the API server's are 36 bytes long.
const maxUID = 256

// review is one AdmissionReview with a request.
type review struct {
	version string // its apiVersion, which the answer repeats
	uid     string
	change  *policies.Change
}

// readReview reads an AdmissionReview. With an error the review may still have version and uid: then the request can be answered
// by name.
func readReview(text string, depth, values int) (review, error) {
	r := review{version: reviewVersion}
	v, uid, err := parseJSON(text, depth, values)
	if r.uid = uid; len(uid) > maxUID {
		return review{version: reviewVersion}, errors.New("request.uid is too long")
	}
	if err != nil {
		return r, fmt.Errorf("body is no JSON that can be judged: %w", err)
	}
	top, ok := v.(map[string]any)
	if !ok {
		return r, errors.New("body is no AdmissionReview: expected a map")
	}
	version, _ := top["apiVersion"].(string)
	if kind, _ := top["kind"].(string); kind != reviewKind || !strings.HasPrefix(version, reviewGroup+"/") {
		r.uid = ""
		return r, fmt.Errorf("body is no AdmissionReview: expected apiVersion %s and kind %s, got %q and %q", reviewVersion, reviewKind, shortened(version), shortened(kind))
	}
	if version != reviewVersion {
		r.version = version
		return r, fmt.Errorf("AdmissionReview of %q is not supported: let the webhook's admissionReviewVersions be [v1]", shortened(version))
	}
	request, ok := top["request"].(map[string]any)
	if !ok {
		return r, errors.New("AdmissionReview has no request")
	}
	if r.uid == "" {
		return r, errors.New("AdmissionReview has no request.uid")
	}
	r.change, err = changeOf(request)
	return r, err
}

// changeOf makes a Change of a request. Its objects are what the API server would store: it has decoded, defaulted and validated
// them before it asks.
func changeOf(request map[string]any) (*policies.Change, error) {
	f := fields{m: request, path: "request."}
	c := &policies.Change{
		Operation: policies.Operation(f.text("operation")),
		Namespace: f.text("namespace"),
		DryRun:    f.bool("dryRun"),
		Options:   f.object("options"),
		Actor:     f.actor("userInfo"),
		Knows:     policies.KnowsOld | policies.KnowsActor,
	}
	kind, resource := f.kind("kind"), f.resource("resource")
	resource.Subresource = f.text("subResource")
	c.Resource = resource
	name := f.text("name")
	object, old := f.object("object"), f.object("oldObject")
	if f.err != nil {
		return nil, f.err
	}
	switch c.Operation {
	case policies.Create, policies.Update, policies.Delete, policies.Connect:
	default:
		return nil, fmt.Errorf("request.operation is %q: expected CREATE, UPDATE, DELETE or CONNECT", shortened(string(c.Operation)))
	}
	if kind.Kind == "" || kind.Version == "" {
		return nil, errors.New("request.kind is missing")
	}
	if resource.Resource == "" || resource.Version == "" {
		return nil, errors.New("request.resource is missing")
	}
	if resource.Group == "" && resource.Resource == "namespaces" {
		c.Namespace = "" // the API server puts a Namespace into itself
	}
	c.Namespaced = c.Namespace != ""
	if !c.Namespaced {
		c.Knows |= policies.KnowsNamespace // there is none to know
	}
	if object != nil {
		c.Object = named(object, kind, c.Namespace, name)
	}
	if old != nil {
		c.Old = named(old, kind, c.Namespace, name)
	}
	if err := contradicts(c.Object, c, kind, name); err != nil {
		return nil, fmt.Errorf("request.object %w", err)
	}
	if err := contradicts(c.Old, c, kind, name); err != nil {
		return nil, fmt.Errorf("request.oldObject %w", err)
	}
	switch {
	case c.Operation == policies.Delete:
		c.Object = nil
		if c.Old == nil {
			c.Old = nothingBut(kind, c.Namespace, name)
		}
	case c.Object == nil && c.Operation == policies.Connect:
		c.Object = nothingBut(kind, c.Namespace, name)
	case c.Object == nil:
		return nil, fmt.Errorf("request.object is missing in a request of %s", c.Operation)
	case c.Operation == policies.Update && c.Old == nil:
		return nil, errors.New("request.oldObject is missing in a request of UPDATE")
	}
	return c, nil
}

// contradicts says in what an object is another one than the request says: policies go by either, and must not be told two things. The body
// of a subresource may have a name of its own, and what one deletion of many deletes is named by the object alone.
func contradicts(o *policies.Object, c *policies.Change, kind policies.GroupVersionKind, name string) error {
	switch {
	case o == nil:
		return nil
	case o.Kind != kind:
		return fmt.Errorf("is a %s of %s, and request.kind says %s of %s", shortened(o.Kind.Kind), shortened(o.Kind.APIVersion()), shortened(kind.Kind), shortened(kind.APIVersion()))
	case o.Namespace != c.Namespace:
		return fmt.Errorf("is in namespace %q, and request.namespace says %q", shortened(o.Namespace), shortened(c.Namespace))
	case name != "" && o.Name != name && c.Resource.Subresource == "":
		return fmt.Errorf("is named %q, and request.name says %q", shortened(o.Name), shortened(name))
	}
	return nil
}

// named makes an object of content. What has no name of its own (the options of a CONNECT) is named as the request is.
func named(content map[string]any, kind policies.GroupVersionKind, namespace, name string) *policies.Object {
	o := policies.NewObject(content, policies.Origin{}, nil, nil)
	if o.Kind.Kind == "" {
		o.Kind = kind
	}
	if o.Name == "" {
		o.Name = name
	}
	if o.Namespace == "" {
		o.Namespace = namespace
	}
	return o
}

// nothingBut is an object of which only the identity is known: what an API server of its own serves without storing it.
func nothingBut(kind policies.GroupVersionKind, namespace, name string) *policies.Object {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return policies.NewObject(map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Kind, "metadata": metadata}, policies.Origin{}, nil, nil)
}

// fields reads values of a request and keeps the first that has a wrong type.
type fields struct {
	m    map[string]any
	path string // of m, with a dot
	err  error
}

func field[T any](f *fields, name, want string) T {
	v, ok := f.m[name].(T)
	if !ok && f.m[name] != nil && f.err == nil {
		f.err = fmt.Errorf("%s%s is no %s", f.path, shortened(name), want)
	}
	return v
}

func (f *fields) text(name string) string           { return field[string](f, name, "text") }
func (f *fields) bool(name string) bool             { return field[bool](f, name, "bool") }
func (f *fields) object(name string) map[string]any { return field[map[string]any](f, name, "map") }

func (f *fields) inside(name string) *fields {
	m := f.object(name)
	return &fields{m: m, path: f.path + name + ".", err: f.err}
}

func (f *fields) kind(name string) policies.GroupVersionKind {
	in := f.inside(name)
	out := policies.GroupVersionKind{Group: in.text("group"), Version: in.text("version"), Kind: in.text("kind")}
	f.err = in.err
	return out
}

func (f *fields) resource(name string) policies.Resource {
	in := f.inside(name)
	out := policies.Resource{Group: in.text("group"), Version: in.text("version"), Resource: in.text("resource")}
	f.err = in.err
	return out
}

func (f *fields) actor(name string) *policies.Actor {
	in := f.inside(name)
	out := &policies.Actor{User: in.text("username"), UID: in.text("uid"), Groups: in.texts("groups")}
	if extra := in.object("extra"); len(extra) > 0 {
		out.Extra = make(map[string][]string, len(extra))
		values := fields{m: extra, path: in.path + "extra.", err: in.err}
		for key := range extra {
			out.Extra[key] = values.texts(key)
		}
		in.err = values.err
	}
	f.err = in.err
	return out
}

func (f *fields) texts(name string) []string {
	list := field[[]any](f, name, "list")
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok && f.err == nil {
			f.err = fmt.Errorf("%s%s is no list of texts", f.path, shortened(name))
		}
		out = append(out, s)
	}
	return out
}
