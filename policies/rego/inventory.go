package rego

import (
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
)

// wanted says which other objects a policy looks at. data.inventory has them as Gatekeeper lays them out:
// namespace[namespace][apiVersion][kind][name] and cluster[apiVersion][kind][name]; data.kubernetes as kube-mgmt does:
// [plural][namespace][name] and [plural][name]. They are reached by these names only, not by walking the whole of data.
type wanted struct {
	inventory, kubernetes bool
	all                   bool            // kinds is not all there is to it
	kinds                 map[string]bool // kinds that data.inventory is asked for
}

func (w wanted) any() bool { return w.inventory || w.kubernetes }

// refers is what the change set has to hold for it.
func (w wanted) refers() []policies.GroupKind {
	switch {
	case !w.any():
		return nil
	case w.all || w.kubernetes:
		return []policies.GroupKind{{Group: "*", Kind: "*"}}
	}
	var out []policies.GroupKind
	for kind := range w.kinds {
		out = append(out, policies.GroupKind{Group: "*", Kind: kind})
	}
	return out
}

func (w wanted) and(other wanted) wanted {
	out := wanted{inventory: w.inventory || other.inventory, kubernetes: w.kubernetes || other.kubernetes, all: w.all || other.all, kinds: map[string]bool{}}
	for _, one := range []wanted{w, other} {
		for kind := range one.kinds {
			out.kinds[kind] = true
		}
	}
	return out
}

// reserved lists what is looked at under a name that data files cannot have.
func (r *reach) reserved(name string) []ast.Ref {
	var out []ast.Ref
	for _, ref := range r.under(ast.DefaultRootDocument, name) {
		if len(ref) > 1 && ref[1].Equal(ast.StringTerm(name)) {
			out = append(out, ref)
		}
	}
	return out
}

func (r *reach) wantsInventory() wanted {
	w := wanted{kinds: map[string]bool{}}
	for _, ref := range r.reserved("inventory") {
		w.inventory = true
		at := 4 // data.inventory.cluster[apiVersion][kind]
		if len(ref) > 2 && !ref[2].Equal(ast.StringTerm("cluster")) {
			at = 5
		}
		if len(ref) > at && len(ref) > 2 {
			if kind, ok := ref[at].Value.(ast.String); ok {
				w.kinds[string(kind)] = true
				continue
			}
		}
		w.all = true
	}
	for _, ref := range r.reserved("kubernetes") {
		if len(ref) > 2 && len(r.compiler.GetRulesWithPrefix(ref[:3])) > 0 {
			continue
		}
		w.kubernetes = true
	}
	return w
}

type inventoryKey struct{ *suite }

type inventories struct{ inventory, kubernetes *ast.Term }

// inventory is the other objects that c's set holds, as far as the suite asks for them, made once for the set.
func (s *suite) inventory(set *policies.Set) (inventories, error) {
	v, err := set.Derive(inventoryKey{s}, func() (any, error) { return s.makeInventory(set) })
	if err != nil {
		return inventories{}, err
	}
	return v.(inventories), nil
}

// tree is a map of maps under construction.
type tree map[string]any

func (t tree) put(value *ast.Term, steps ...string) {
	for _, step := range steps[:len(steps)-1] {
		next, ok := t[step].(tree)
		if !ok {
			next = tree{}
			t[step] = next
		}
		t = next
	}
	t[steps[len(steps)-1]] = value
}

func (t tree) term() *ast.Term {
	o := ast.NewObjectWithCapacity(len(t))
	for key, v := range t {
		switch v := v.(type) {
		case tree:
			o.Insert(ast.InternedTerm(key), v.term())
		case *ast.Term:
			o.Insert(ast.InternedTerm(key), v)
		}
	}
	return ast.NewTerm(o)
}

func (s *suite) makeInventory(set *policies.Set) (inventories, error) {
	inventory, kubernetes := tree{"namespace": tree{}, "cluster": tree{}}, tree{}
	for o := range set.All() {
		asked := s.wanted.inventory && (s.wanted.all || s.wanted.kinds[o.Kind.Kind])
		if !asked && !s.wanted.kubernetes {
			continue
		}
		t, err := valueOf(o)
		if err != nil {
			return inventories{}, err
		}
		name := o.Name
		if name == "" {
			if prefix, ok := policies.Lookup(o.Map(), policies.Path{"metadata", "generateName"}); ok {
				if text, ok := prefix.(string); ok && text != "" {
					name = text + generatedSuffix
				}
			}
		}
		if name == "" {
			continue // an object without a name has no place in an inventory by name; schema refuses it
		}
		namespace := namespaceOf(o)
		resource := plural(o.Kind.Kind)
		switch {
		case namespace == "":
			if asked {
				inventory.put(t, "cluster", o.Kind.APIVersion(), o.Kind.Kind, name)
			}
			kubernetes.put(t, resource, name)
		default:
			if asked {
				inventory.put(t, "namespace", namespace, o.Kind.APIVersion(), o.Kind.Kind, name)
			}
			kubernetes.put(t, resource, namespace, name)
		}
	}
	out := inventories{inventory: inventory.term(), kubernetes: kubernetes.term()}
	if own, ok := s.data.root["kubernetes"]; ok {
		t, err := termOf(own)
		if err != nil {
			return inventories{}, err
		}
		if files, ok := t.Value.(ast.Object); ok {
			merged, _ := files.MergeWith(out.kubernetes.Value.(ast.Object), func(file, _ *ast.Term) (*ast.Term, bool) { return file, false })
			out.kubernetes = ast.NewTerm(merged)
		}
	}
	return out, nil
}

// extra is what c sees under the names of data that are not for files.
func (s *suite) extra(c *policies.Change) map[string]func() (*ast.Term, error) {
	out := map[string]func() (*ast.Term, error){}
	if s.wanted.inventory {
		out["inventory"] = func() (*ast.Term, error) {
			both, err := s.inventory(c.Set)
			return both.inventory, err
		}
	}
	if s.wanted.kubernetes {
		out["kubernetes"] = func() (*ast.Term, error) {
			both, err := s.inventory(c.Set)
			return both.kubernetes, err
		}
	}
	if s.file {
		out["conftest"] = func() (*ast.Term, error) {
			file := c.Subject().Origin.File
			return ast.ObjectTerm(ast.Item(ast.InternedTerm("file"), termOfStrings("name", path.Base(file), "dir", path.Dir(file)))), nil
		}
	}
	return out
}

// clusterScoped are the kinds of Kubernetes itself, and of its projects, that have no namespace.
var clusterScoped = map[string]bool{
	"APIService": true, "CSIDriver": true, "CSINode": true, "CertificateSigningRequest": true, "ClusterRole": true,
	"ClusterRoleBinding": true, "ClusterTrustBundle": true, "ComponentStatus": true, "CustomResourceDefinition": true,
	"DeviceClass": true, "DeviceTaintRule": true, "FlowSchema": true, "GatewayClass": true, "IPAddress": true, "IngressClass": true,
	"MutatingAdmissionPolicy": true, "MutatingAdmissionPolicyBinding": true, "MutatingWebhookConfiguration": true, "Namespace": true,
	"Node": true, "PersistentVolume": true, "PriorityClass": true, "PriorityLevelConfiguration": true, "ResourceSlice": true,
	"RuntimeClass": true, "SelfSubjectAccessReview": true, "SelfSubjectReview": true, "SelfSubjectRulesReview": true,
	"ServiceCIDR": true, "StorageClass": true, "StorageVersion": true, "StorageVersionMigration": true, "SubjectAccessReview": true,
	"TokenReview": true, "ValidatingAdmissionPolicy": true, "ValidatingAdmissionPolicyBinding": true,
	"ValidatingWebhookConfiguration": true, "VolumeAttachment": true, "VolumeAttributesClass": true, "VolumeSnapshotClass": true,
	"VolumeSnapshotContent": true,
}

// namespaceOf is where an object of the set lies: where it says, or in default, as kubectl applies it, when its kind is known to
// have a namespace.
func namespaceOf(o *policies.Object) string {
	builtIn := !strings.Contains(o.Kind.Group, ".") || strings.HasSuffix(o.Kind.Group, ".k8s.io")
	if o.Namespace == "" && builtIn && !clusterScoped[o.Kind.Kind] {
		return "default"
	}
	return o.Namespace
}

// plural is the resource of a kind, guessed as the API machinery does (k8s.io/apimachinery/pkg/api/meta, UnsafeGuessKindToResource).
func plural(kind string) string {
	s := strings.ToLower(kind)
	switch {
	case s == "endpoints":
		return s
	case strings.HasSuffix(s, "s"):
		return s + "es"
	case strings.HasSuffix(s, "y"):
		return strings.TrimSuffix(s, "y") + "ies"
	default:
		return s + "s"
	}
}
