package cluster

import (
	"context"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"gitgate.dev/gitgate/policies"
)

// Watch keeps all objects of one resource in memory, without their managedFields. Safe for concurrent use.
type Watch struct {
	informer cache.SharedIndexInformer
	absent   atomic.Bool // the cluster does not serve the resource, or does not let us see it
	told     sync.Once
}

// Watch begins to watch a resource of the cluster, in all namespaces, until ctx ends. changed is called behind each change, by one
// goroutine at a time; it may be nil. A resource that the cluster does not serve yet is looked for again and again.
func (c *Cluster) Watch(ctx context.Context, r policies.Resource, changed func()) (*Watch, error) {
	gvr := schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource}
	in := c.client.Resource(gvr)
	w := &Watch{}
	list := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return in.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return in.Watch(ctx, o)
		},
	}
	w.informer = cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(list, c.client), &unstructured.Unstructured{}, 0, cache.Indexers{})
	if err := w.informer.SetTransform(lighter); err != nil {
		return nil, err
	}
	err := w.informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			w.absent.Store(true)
			w.told.Do(func() {
				c.log.Info("the cluster does not show a resource", "resource", gvr.String(), "error", err.Error())
			})
			return
		}
		c.log.Warn("watch was interrupted", "resource", gvr.String(), "error", err.Error())
	})
	if err != nil {
		return nil, err
	}
	tell := func() {
		w.absent.Store(false)
		if changed != nil {
			changed()
		}
	}
	_, err = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(_, _ any) { tell() }, DeleteFunc: func(any) { tell() },
	})
	if err != nil {
		return nil, err
	}
	go w.informer.RunWithContext(ctx)
	return w, nil
}

// lighter drops what is large and not needed.
func lighter(v any) (any, error) {
	if u, ok := v.(*unstructured.Unstructured); ok {
		u.SetManagedFields(nil)
	}
	return v, nil
}

// Ready says that the watch has seen everything once, or that there is nothing to see.
func (w *Watch) Ready() bool { return w.informer.HasSynced() || w.absent.Load() }

// Get returns an object, nil when it is not known. namespace is "" for a cluster-scoped resource.
func (w *Watch) Get(namespace, name string) *policies.Object {
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	v, ok, err := w.informer.GetStore().GetByKey(key)
	if u, is := v.(*unstructured.Unstructured); is && ok && err == nil {
		return object(u)
	}
	return nil
}

// List returns all objects, in no particular order.
func (w *Watch) List() []*policies.Object {
	items := w.informer.GetStore().List()
	out := make([]*policies.Object, 0, len(items))
	for _, v := range items {
		if u, ok := v.(*unstructured.Unstructured); ok {
			out = append(out, object(u))
		}
	}
	return out
}
