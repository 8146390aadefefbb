package opa

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
)

type valueKey struct{}

// Value is o as a Rego value, made once for all policies.
func Value(o *policies.Object) (*ast.Term, error) {
	v, err := o.Derive(valueKey{}, func() (any, error) {
		t, err := Term(o.Value())
		if err != nil {
			return nil, fmt.Errorf("object %s as a Rego value: %w", o, err)
		}
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*ast.Term), nil
}

// Named is o's value with the name that the API server will have given it when admission sees it: policies name objects in
// their messages, and a rule that asks for a name that is not there would not hold and so pass.
func Named(o *policies.Object) (*ast.Term, error) {
	t, err := Value(o)
	if err != nil || o.Name != "" {
		return t, err
	}
	v, err := o.Derive(namedKey{}, func() (any, error) {
		object, ok := t.Value.(ast.Object)
		if !ok {
			return t, nil
		}
		metaTerm := object.Get(ast.InternedTerm("metadata"))
		if metaTerm == nil {
			return t, nil
		}
		meta, ok := metaTerm.Value.(ast.Object)
		if !ok || meta.Get(ast.InternedTerm("name")) != nil {
			return t, nil
		}
		prefix := meta.Get(ast.InternedTerm("generateName"))
		if prefix == nil {
			return t, nil
		}
		s, ok := prefix.Value.(ast.String)
		if !ok || s == "" {
			return t, nil
		}
		return ast.NewTerm(With(object, "metadata", ast.NewTerm(With(meta, "name", ast.StringTerm(string(s)+GeneratedSuffix))))), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*ast.Term), nil
}

type namedKey struct{}

// Lazy is what Named is, made of o only as far as somebody looks: of most objects the larger part, who manages their fields and what
// they were last, is asked for by no policy. It is for one goroutine and not to be kept, and not for rules of which Writes is true.
func Lazy(o *policies.Object) (*ast.Term, error) {
	root, ok := o.Value().(map[string]any)
	if !ok {
		return Value(o)
	}
	if meta, ok := root["metadata"].(map[string]any); ok && o.Name == "" {
		prefix, _ := meta["generateName"].(string)
		if _, has := meta["name"]; !has && prefix != "" {
			meta, root = maps.Clone(meta), maps.Clone(root)
			meta["name"], root["metadata"] = prefix+GeneratedSuffix, meta
		}
	}
	return ast.NewTerm(ast.LazyObject(root)), nil
}

// Writes says whether rules have OPA write into a copy of what they are given: "with" of a part of a document, and builtins that add to
// a request. Its copy of what Lazy makes is the same object, so that what one rule supposes every later one would see.
func Writes(c *ast.Compiler) bool {
	writes := false
	for _, m := range c.Modules {
		ast.WalkWiths(m, func(w *ast.With) bool {
			target, ok := w.Target.Value.(ast.Ref)
			writes = writes || !ok || len(target) > 1 && (target[0].Equal(ast.InputRootDocument) || target[0].Equal(ast.DefaultRootDocument))
			return writes
		})
		ast.WalkRefs(m, func(ref ast.Ref) bool {
			writes = writes || ref.Equal(ast.HTTPSend.Ref()) || ref.Equal(ast.ProvidersAWSSignReqObj.Ref())
			return writes
		})
	}
	return writes
}

// GeneratedSuffix has the length and the letters of what the API server appends to metadata.generateName
// (k8s.io/apiserver/pkg/storage/names).
const GeneratedSuffix = "xxxxx"

// With is a copy of o in which key has value.
func With(o ast.Object, key string, value *ast.Term) ast.Object {
	out := ast.NewObjectWithCapacity(o.Len() + 1)
	o.Foreach(func(k, v *ast.Term) { out.Insert(k, v) })
	out.Insert(ast.InternedTerm(key), value)
	return out
}

// Term makes a Rego value of a decoded document. It does not go through JSON: that would cost several times as much.
func Term(v any) (*ast.Term, error) {
	switch v := v.(type) {
	case map[string]any:
		object := ast.NewObjectWithCapacity(len(v))
		for key, member := range v {
			t, err := Term(member)
			if err != nil {
				return nil, err
			}
			object.Insert(fieldTerm(key), t)
		}
		return ast.NewTerm(object), nil
	case []any:
		items := make([]*ast.Term, len(v))
		for i, item := range v {
			t, err := Term(item)
			if err != nil {
				return nil, err
			}
			items[i] = t
		}
		return ast.NewTerm(ast.NewArray(items...)), nil
	case string:
		return ast.InternedTerm(v), nil
	case bool:
		return ast.InternedTerm(v), nil
	case nil:
		return ast.InternedNullTerm, nil
	case int64:
		return integer(v), nil
	case int:
		return integer(int64(v)), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return integer(int64(v)), nil
		}
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, fmt.Errorf("number %v has no JSON form", v)
		}
		return ast.NumberTerm(json.Number(strconv.FormatFloat(v, 'g', -1, 64))), nil
	case json.Number:
		return ast.NumberTerm(v), nil
	case uint64:
		return ast.NumberTerm(json.Number(strconv.FormatUint(v, 10))), nil
	default:
		return nil, fmt.Errorf("value of type %T is none of JSON's", v)
	}
}

// fieldTerm is a key as a Rego value. Those of the fields that nearly every object has are made once.
func fieldTerm(key string) *ast.Term {
	if t := fields()[key]; t != nil {
		return t
	}
	return ast.InternedTerm(key)
}

var fields = sync.OnceValue(func() map[string]*ast.Term {
	out := map[string]*ast.Term{}
	for _, name := range strings.Fields(`allowPrivilegeEscalation annotations apiVersion args automountServiceAccountToken capabilities
		command configMap configMapRef containerPort containers cpu data defaultMode dnsPolicy drop emptyDir env envFrom failureThreshold
		fieldPath fieldRef fsGroup generateName httpGet image imagePullPolicy initContainers initialDelaySeconds key kind labels
		labelSelector limits livenessProbe matchLabels maxSkew maxSurge maxUnavailable memory metadata mountPath name namespace operator
		path periodSeconds port ports progressDeadlineSeconds protocol readOnly readOnlyRootFilesystem readinessProbe replicas requests
		resource resourceFieldRef resources restartPolicy revisionHistoryLimit rollingUpdate runAsGroup runAsNonRoot runAsUser
		schedulerName scheme seccompProfile secretKeyRef securityContext selector serviceAccount serviceAccountName sizeLimit spec
		startupProbe status strategy successThreshold template terminationGracePeriodSeconds terminationMessagePath
		terminationMessagePolicy timeoutSeconds topologyKey topologySpreadConstraints type value valueFrom volumeMounts volumes
		whenUnsatisfiable`) {
		out[name] = ast.StringTerm(name)
	}
	return out
})

func integer(i int64) *ast.Term {
	if i >= 0 && i < 1<<31 {
		return ast.InternedTerm(int(i))
	}
	return ast.NumberTerm(json.Number(strconv.FormatInt(i, 10)))
}

// Actor is the userInfo of a review (k8s.io/api/authentication/v1 UserInfo), which leaves out what is empty.
func Actor(a *policies.Actor) *ast.Term {
	o := ast.NewObjectWithCapacity(4)
	if a.User != "" {
		o.Insert(ast.InternedTerm("username"), ast.StringTerm(a.User))
	}
	if a.UID != "" {
		o.Insert(ast.InternedTerm("uid"), ast.StringTerm(a.UID))
	}
	if len(a.Groups) > 0 {
		o.Insert(ast.InternedTerm("groups"), texts(a.Groups))
	}
	if len(a.Extra) > 0 {
		extra := ast.NewObjectWithCapacity(len(a.Extra))
		for key, values := range a.Extra {
			extra.Insert(ast.StringTerm(key), texts(values))
		}
		o.Insert(ast.InternedTerm("extra"), ast.NewTerm(extra))
	}
	return ast.NewTerm(o)
}

func texts(list []string) *ast.Term {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = ast.StringTerm(s)
	}
	return ast.ArrayTerm(terms...)
}

// Texts makes an object of keys and values in turn.
func Texts(pairs ...string) *ast.Term {
	o := ast.NewObjectWithCapacity(len(pairs) / 2)
	for pair := range slices.Chunk(pairs, 2) {
		o.Insert(ast.InternedTerm(pair[0]), ast.InternedTerm(pair[1]))
	}
	return ast.NewTerm(o)
}
