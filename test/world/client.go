package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/utils/ptr"
)

// client speaks to the API server of objects of every kind.
type client struct {
	dynamic dynamic.Interface
	kinds   *mapper
}

// mapper knows where the objects of a kind are. Clients share it: who asks changes nothing.
type mapper struct {
	mu    sync.Mutex // it is not safe while it is reset
	known *restmapper.DeferredDiscoveryRESTMapper
}

func newClient(config *rest.Config) (*client, error) {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	c := &client{kinds: &mapper{known: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))}}
	return c.as(config)
}

// as is the client of somebody else.
func (c *client) as(config *rest.Config) (*client, error) {
	d, err := dynamic.NewForConfig(config)
	return &client{dynamic: d, kinds: c.kinds}, err
}

func (m *mapper) find(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mapping, err := m.known.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		m.known.Reset()
		mapping, err = m.known.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	return mapping, err
}

// objects decodes YAML documents; empty ones are left out.
func objects(text string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var m map[string]any
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case len(m) > 0:
			out = append(out, &unstructured.Unstructured{Object: m})
		}
	}
}

// resource is where the objects of a kind are.
func (c *client) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := c.kinds.find(gvk)
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return c.dynamic.Resource(m.Resource), nil
	}
	return c.dynamic.Resource(m.Resource).Namespace(namespace), nil
}

// apply makes or changes the objects of YAML documents by server-side apply.
func (c *client) apply(ctx context.Context, text string) error {
	all, err := objects(text)
	if err != nil {
		return err
	}
	for _, o := range all {
		if err := c.applyObject(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) applyObject(ctx context.Context, o *unstructured.Unstructured) error {
	in, err := c.resource(o.GroupVersionKind(), o.GetNamespace())
	if err == nil {
		var body []byte
		if body, err = json.Marshal(o); err == nil {
			_, err = in.Patch(ctx, o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "world", Force: ptr.To(true)})
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// get reads an object; nil when there is none.
func (c *client) get(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	in, err := c.resource(gvk, namespace)
	if err != nil {
		return nil, err
	}
	o, err := in.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return o, err
}

// kind reads "v1 Pod" and "apps/v1 Deployment".
func kind(text string) schema.GroupVersionKind {
	version, name, _ := strings.Cut(text, " ")
	return schema.FromAPIVersionAndKind(version, name)
}

// Get reads an object as an administrator; nil when there is none. kind is like "apps/v1 Deployment"; namespace is "" for a
// cluster-scoped one.
func (w *World) Get(of, namespace, name string) *unstructured.Unstructured {
	w.t.Helper()
	o, err := w.cluster.get(w.ctx, kind(of), namespace, name)
	w.must(of+" "+name, err)
	return o
}

// List reads the objects of a kind in a namespace, or everywhere when it is "".
func (w *World) List(of, namespace string) []unstructured.Unstructured {
	w.t.Helper()
	in, err := w.cluster.resource(kind(of), namespace)
	w.must(of, err)
	all, err := in.List(w.ctx, metav1.ListOptions{})
	w.must(of, err)
	return all.Items
}

// As returns a client of a user for objects of a kind, by client certificate. It is throttled by nothing.
func (w *World) As(user string, groups []string, of, namespace string) dynamic.ResourceInterface {
	w.t.Helper()
	c, err := w.cluster.as(w.Config(user, groups...))
	w.must(user, err)
	in, err := c.resource(kind(of), namespace)
	w.must(of, err)
	return in
}
