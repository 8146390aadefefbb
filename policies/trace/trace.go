// Package trace is the kind of policy that asks which commit declared a change. It says who writes (the class of the writer), and
// compares what is written with what Git declares, or with what a controller would make of a declared object, field by field. It
// knows of Git, of the cluster and of the API server's schemas only what it is handed: it imports no Git, no renderer and no
// client.
package trace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Name is the name of the policy and of its kind.
const Name = "trace"

// Index is what accepted commits declare. It is safe for concurrent use; what it returns is not changed.
type Index interface {
	// Lookup returns every form in which accepted commits declare an object, the newest first; none when they do not. The
	// Namespaces that a unit makes for its objects (CreateNamespace of Argo CD) are among the declared objects. An object
	// that has only a generateName is found under the name "".
	Lookup(key policies.Key) []*policies.Form
	// In returns the forms in which the tip declares the objects of a kind in a namespace; "" for the cluster-scoped ones.
	In(kind policies.GroupKind, namespace string) []*policies.Form
	// Unit returns a unit by what its form's Unit says (Kind, Namespace, Name), as the tip declares it; ok is false when the
	// tip does not.
	Unit(kind, namespace, name string) (unit policies.Unit, ok bool)
	// Taking lists the units whose objects a service account writes ("team-a:reconciler"), as the tip declares them, and those of which
	// an account wrote what the tip no longer declares; "" for those that no account is named for.
	Taking(account string) []policies.Unit
	// Opaque lists what accepted commits declare and nobody can render without a network or a key.
	Opaque() []Opaque
	// Held lists the sources whose branch points to a commit that is not accepted.
	Held() []Held
	// Older says that a commit of a source is an ancestor of another one, and not that one itself.
	Older(source, commit, than string) bool
	// Fresh looks whether Git has something newer and says whether the index changed. It is single-flight, and returns with an
	// error when the context ends or Git cannot be asked.
	Fresh(ctx context.Context) (changed bool, err error)
}

// Opaque is something that a unit declares and that cannot be known.
type Opaque struct {
	Source string
	Unit   policies.Unit
	What   string // "chart podinfo from https://charts.example.com"
	Reason string // what would make it known
}

// Held is a source of which new commits are not accepted.
type Held struct {
	Source string
	Reason string // why, and what ends it
}

// Owners looks up live objects of the cluster: owners of what controllers make, namespaces, nodes. It is safe for concurrent use.
type Owners interface {
	// Get returns the live object, nil when there is none. It may answer from a cache unless ref.Fresh is set; an error
	// says that it could not be asked. The namespace of a ref to a cluster-scoped kind is ignored.
	Get(ctx context.Context, ref Ref) (*policies.Object, error)
	// List returns the live objects of a cluster-scoped kind, as the API server has them.
	List(ctx context.Context, kind policies.GroupVersionKind) ([]*policies.Object, error)
}

// Ref names a live object.
type Ref struct {
	Kind      policies.GroupVersionKind
	Namespace string // "" for a cluster-scoped object
	Name      string
	Fresh     bool // the answer of the API server is wanted: what the cache said would refuse a change
}

// Applied knows what reconcilers have applied. It is safe for concurrent use.
type Applied interface {
	// Last returns the newest commit of a source that is known to have been applied to a unit; ok is false when none is. What it
	// has returned it remembers.
	Last(source string, unit policies.Unit) (commit string, ok bool)
	// Ahead says that the reconciler of a unit names a commit that is not known here and that Git was not asked for since.
	Ahead(unit policies.Unit) bool
	// Wrote says that the reconciler of a unit has written what a commit of a source declares, and has come at least that far.
	Wrote(source string, unit policies.Unit, commit string)
}

// Grants knows the open break-glass grants. It is safe for concurrent use.
type Grants interface {
	// Covering returns an open grant of the change's actor whose scope covers the change; ok is false when there is none.
	Covering(c *policies.Change) (grant Grant, ok bool)
	// Over returns an open grant of anybody whose scope covers an object, so that controllers may make of it what they make.
	Over(key policies.Key) (grant Grant, ok bool)
}

// Grant lets one person change some objects for some time.
type Grant struct {
	Name   string // of the cluster object
	Person string
	Reason string
	Until  string // RFC 3339
}

// Sort is a program that applies what Git declares.
type Sort string

const (
	Flux   Sort = "flux"
	ArgoCD Sort = "argocd"
)

// Reconciler says that a reconciler runs in a namespace, under the service accounts of its own installation.
type Reconciler struct {
	Sort      Sort
	Namespace string
}

// Writer is an identity that may write what Git does not declare.
type Writer struct {
	Name   string
	Users  []string // patterns for the whole user name, in which * stands for any text without a colon
	Groups []string // the same for one of the user's groups
	Writes []Write
}

// Write is what a writer may write.
type Write struct {
	Kinds      []string // "Secret" (of the core group or any other), "Deployment.apps", "*"
	Namespaces []string // patterns, in which * stands for any text; empty for all
	Names      []string // patterns; empty for all
	// Fields are the paths that may be changed, with all that is below them: spec.replicas, metadata.annotations[example.com/*],
	// spec.template.spec.containers[istio-proxy] by the key of the list. Empty for the whole object, with its creation and deletion.
	Fields []string
	// Subresources that may be written or connected to (scale, status, eviction, exec …); empty for the object alone. The scale of
	// an object is its field spec.replicas too.
	Subresources []string
}

// Exempt takes objects out of the trace. An empty list matches everything; the patterns are those of Write. A Namespace is a
// cluster-scoped object: an exempt namespace exempts what is in it, not itself.
type Exempt struct {
	Namespaces []string
	Kinds      []string
	Names      []string
	Reason     string
}

// Options is what the policy is made of. Index and Owners are needed.
type Options struct {
	Index   Index
	Owners  Owners
	Applied Applied // nil: no commit is too old
	Grants  Grants  // nil: nobody has one

	// Lists returns how the lists of a kind are compared; a nil function compares every list as one value.
	Lists func(kind policies.GroupVersionKind) func(policies.Path) List
	// Convert returns the stored form of a declared object in another version of its kind. Without it a change that arrives in
	// another version than Git is written in cannot be judged.
	Convert func(o *policies.Object, to policies.GroupVersionKind) (map[string]any, error)

	Reconcilers []Reconciler
	Writers     []Writer
	Exempt      []Exempt

	Action policies.Action
	Origin policies.Position // where the configuration asks for the policy

	Now func() time.Time // nil: time.Now
}

// New makes the policy that admits a change only when a commit declares it. The error names everything in o that is wrong.
func New(o Options) (*policies.Policy, error) {
	j, err := compile(o)
	if err != nil {
		return nil, err
	}
	return &policies.Policy{
		Name: Name, Kind: Name, Severity: policies.Critical, Action: o.Action, Origin: o.Origin,
		Doc:   "Each change is declared by an accepted commit: a reconciler writes what Git declares, controllers make of it what they always make, and other writers write what gitgate.yaml lets them write",
		Rules: Rules(),
		Needs: policies.KnowsActor | policies.KnowsOld,
		Match: policies.Match{
			Resources:  []policies.ResourceRule{{Groups: []string{"*"}, Versions: []string{"*"}, Resources: []string{"*/*", "*"}}},
			Operations: []policies.Operation{policies.Create, policies.Update, policies.Delete, policies.Connect},
			NoPods:     true,
		},
		Judge: j.judge,
	}, nil
}

func compile(o Options) (*judge, error) {
	var errs []error
	if o.Index == nil || o.Owners == nil {
		errs = append(errs, errors.New("trace: needs an index of what Git declares, and a way to look up live objects"))
	}
	j := &judge{Options: o, reconcilers: map[string]identity{}, duties: map[string][]duty{}, kubelet: kubelet()}
	if j.now = o.Now; j.now == nil {
		j.now = time.Now
	}
	if j.Lists == nil {
		j.Lists = func(policies.GroupVersionKind) func(policies.Path) List { return nil }
	}
	for i, r := range o.Reconcilers {
		if r.Namespace == "" || r.Sort != Flux && r.Sort != ArgoCD {
			errs = append(errs, fmt.Errorf("trace: reconcilers[%d]: expected a sort (flux, argocd) and a namespace", i))
			continue
		}
		for account, does := range controllersOf(r.Sort) {
			user := serviceAccount(r.Namespace, account)
			j.reconcilers[user] = identity{sort: r.Sort, account: account}
			j.duties[user] = append(j.duties[user], does...)
		}
	}
	for user, does := range controlPlane() {
		j.duties[user] = append(j.duties[user], does...)
	}
	for i, w := range o.Writers {
		c, err := compileWriter(w)
		if err != nil {
			errs = append(errs, fmt.Errorf("trace: writers[%d]: %w", i, err))
		}
		j.writers = append(j.writers, c)
	}
	return j, errors.Join(errs...)
}

func serviceAccount(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}
