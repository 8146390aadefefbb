// Package cluster is what gitgate sees of a running cluster: objects that it watches, live objects that it looks up, and the two
// objects of its own that it keeps, the Secret of its certificate authority and its webhook's configuration. It speaks to the
// cluster in the nouns of package policies and knows no policy, no Git, and no door.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"gitgate.dev/gitgate/policies"
)

// Cluster is a connection to a cluster. Safe for concurrent use.
type Cluster struct {
	client     dynamic.Interface
	kubernetes kubernetes.Interface
	mapper     meta.ResettableRESTMapper
	log        *slog.Logger
	lookups    lookups
	clock      *Clock

	mu     sync.Mutex
	looked time.Time // when the mapper was last told to look anew
}

// Clients are what a Cluster speaks through; tests put fakes there.
type Clients struct {
	Dynamic    dynamic.Interface
	Kubernetes kubernetes.Interface
	Mapper     meta.ResettableRESTMapper
}

// The API server is asked for owners while a request waits, so the client's own limit must not be what it waits for.
const (
	queriesPerSecond = 200
	queryBurst       = 400
)

// Config is how to reach a cluster: by a kubeconfig file, or "" for the cluster that the program runs in.
func Config(kubeconfig, userAgent string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	config.UserAgent, config.QPS, config.Burst = userAgent, queriesPerSecond, queryBurst
	return config, nil
}

// ErrNoCluster says that the program does not run in a cluster.
var ErrNoCluster = rest.ErrNotInCluster

// Connect makes a Cluster. It does not ask the cluster anything yet.
func Connect(config *rest.Config, log *slog.Logger) (*Cluster, error) {
	var c Clients
	var err error
	clock := NewClock(nil, nil)
	config = rest.CopyConfig(config)
	config.Wrap(clock.Listen)
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if c.Kubernetes, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c.Mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))
	connected := New(c, log)
	connected.clock = clock
	return connected, nil
}

// New makes a Cluster of clients.
func New(c Clients, log *slog.Logger) *Cluster {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Cluster{client: c.Dynamic, kubernetes: c.Kubernetes, mapper: c.Mapper, log: log, lookups: lookups{kept: map[lookup]answer{}}, clock: NewClock(nil, nil)}
}

// Now is the time: no earlier than what the API server's clock says, as far as it was heard.
func (c *Cluster) Now() time.Time { return c.clock.Now() }

// Get returns the live object of that name, nil when there is none. The namespace is ignored for a cluster-scoped kind. The answer
// may be some seconds old, unless fresh is wanted. The error says that nobody could tell.
func (c *Cluster) Get(ctx context.Context, kind policies.GroupVersionKind, namespace, name string, fresh bool) (*policies.Object, error) {
	return c.lookups.get(ctx, lookup{kind, namespace, name}, fresh, c.get)
}

func (c *Cluster) get(ctx context.Context, l lookup) (*policies.Object, error) {
	mapping, err := c.mapping(l.kind)
	if err != nil {
		return nil, err
	}
	in := dynamic.ResourceInterface(c.client.Resource(mapping.Resource))
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		in = c.client.Resource(mapping.Resource).Namespace(l.namespace)
	}
	o, err := in.Get(ctx, l.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", mapping.Resource.Resource, err)
	}
	return object(o), nil
}

// The bounds of a list.
const (
	pageSize = 500
	maxPages = 40
)

// List returns the objects of a cluster-scoped kind, as the API server has them now. The error says that it could not be asked for all.
func (c *Cluster) List(ctx context.Context, kind policies.GroupVersionKind) ([]*policies.Object, error) {
	mapping, err := c.mapping(kind)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var out []*policies.Object
	page := metav1.ListOptions{Limit: pageSize}
	for range maxPages {
		list, err := c.client.Resource(mapping.Resource).List(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", mapping.Resource.Resource, err)
		}
		for i := range list.Items {
			out = append(out, object(&list.Items[i]))
		}
		if page.Continue = list.GetContinue(); page.Continue == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d of them", mapping.Resource.Resource, pageSize*maxPages)
}

// mapperInterval is how often an unknown kind may make the mapper ask the API server anew: requests can invent kinds.
const mapperInterval = 10 * time.Second

func (c *Cluster) mapping(kind policies.GroupVersionKind) (*meta.RESTMapping, error) {
	find := func() (*meta.RESTMapping, error) {
		return c.mapper.RESTMapping(schema.GroupKind{Group: kind.Group, Kind: kind.Kind}, kind.Version)
	}
	m, err := find()
	if !meta.IsNoMatchError(err) {
		return m, err
	}
	c.mu.Lock()
	again := time.Since(c.looked) > mapperInterval
	if again {
		c.looked = time.Now()
	}
	c.mu.Unlock()
	if !again {
		return nil, err
	}
	c.mapper.Reset()
	return find()
}

// object shares the content of u, which is decoded as policies.NewObject wants it.
func object(u *unstructured.Unstructured) *policies.Object {
	return policies.NewObject(u.Object, policies.Origin{}, nil, nil)
}

// Check says whether the cluster answers.
func (c *Cluster) Check(ctx context.Context) error {
	err := c.kubernetes.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError {
		return nil // it answers, and does not like us
	}
	return err
}
