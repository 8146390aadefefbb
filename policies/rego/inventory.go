package rego

import (
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
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

func wantsInventory(c *ast.Compiler, r *opa.Reach) wanted {
	var w wanted
	w.kinds, w.all, w.inventory = r.Inventory()
	for _, ref := range r.Reserved("kubernetes") {
		if len(ref) > 2 && len(c.GetRulesWithPrefix(ref[:3])) > 0 {
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

func (s *suite) makeInventory(set *policies.Set) (inventories, error) {
	inventory, kubernetes := opa.Tree{"namespace": opa.Tree{}, "cluster": opa.Tree{}}, opa.Tree{}
	for o := range set.All() {
		asked := s.wanted.inventory && (s.wanted.all || s.wanted.kinds[o.Kind.Kind])
		if !asked && !s.wanted.kubernetes {
			continue
		}
		t, err := opa.Value(o)
		if err != nil {
			return inventories{}, err
		}
		name := opa.NameOf(o)
		if name == "" {
			continue // an object without a name has no place in an inventory by name; schema refuses it
		}
		namespace := opa.NamespaceOf(o)
		resource := plural(o.Kind.Kind)
		switch {
		case namespace == "":
			if asked {
				inventory.Put(t, "cluster", o.Kind.APIVersion(), o.Kind.Kind, name)
			}
			kubernetes.Put(t, resource, name)
		default:
			if asked {
				inventory.Put(t, "namespace", namespace, o.Kind.APIVersion(), o.Kind.Kind, name)
			}
			kubernetes.Put(t, resource, namespace, name)
		}
	}
	out := inventories{inventory: inventory.Term(), kubernetes: kubernetes.Term()}
	if own, ok := s.data.root["kubernetes"]; ok {
		t, err := opa.Term(own)
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
			return ast.ObjectTerm(ast.Item(ast.InternedTerm("file"), opa.Texts("name", path.Base(file), "dir", path.Dir(file)))), nil
		}
	}
	return out
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
