package celpolicy

import (
	"fmt"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	kyvernocel "github.com/kyverno/kyverno/pkg/cel/compiler"
	"github.com/kyverno/sdk/extensions/cel/libs/gzip"
	"github.com/kyverno/sdk/extensions/cel/libs/hash"
	"github.com/kyverno/sdk/extensions/cel/libs/image"
	"github.com/kyverno/sdk/extensions/cel/libs/json"
	"github.com/kyverno/sdk/extensions/cel/libs/math"
	"github.com/kyverno/sdk/extensions/cel/libs/random"
	"github.com/kyverno/sdk/extensions/cel/libs/time"
	"github.com/kyverno/sdk/extensions/cel/libs/transform"
	"github.com/kyverno/sdk/extensions/cel/libs/user"
	"github.com/kyverno/sdk/extensions/cel/libs/x509"
	"github.com/kyverno/sdk/extensions/cel/libs/yaml"
	"k8s.io/apimachinery/pkg/util/version"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// The variables of expressions that the API server does not have.
const (
	exceptionsVariable = "exceptions"
	variablesType      = "kyverno.variables"
)

// environments makes the CEL environments of Kyverno's compiler (pkg/cel/policies/vpol/compiler): one for all policies of the
// cluster and one for all of a namespace, which ask for resources in another way.
type environments struct {
	options *Options

	mu     sync.Mutex
	shared [2]*celgo.Env
}

// of is the environment of policies without variables of their own.
func (e *environments) of(namespaced bool) (*celgo.Env, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := 0
	if namespaced {
		i = 1
	}
	if e.shared[i] == nil {
		env, err := newEnvironment(namespaced)
		if err != nil {
			return nil, fmt.Errorf("CEL environment of Kyverno policies: %w", err)
		}
		if e.shared[i], _, err = composed(env); err != nil {
			return nil, err
		}
	}
	return e.shared[i], nil
}

// composed is env with a provider of variables, to which they are added as they are compiled.
func composed(env *celgo.Env) (*celgo.Env, *provider, error) {
	p := &provider{Provider: env.CELTypeProvider(), fields: map[string]*types.Type{}}
	out, err := env.Extend(celgo.CustomTypeProvider(p))
	if err != nil {
		return nil, nil, fmt.Errorf("CEL environment of a Kyverno policy: %w", err)
	}
	return out, p, nil
}

func newEnvironment(namespaced bool) (*celgo.Env, error) {
	// Kyverno asks for what stored expressions of the API server may use, of whatever version.
	base, err := environment.MustBaseEnvSet(version.MajorMinor(1, 0)).Env(environment.StoredExpressions)
	if err != nil {
		return nil, err
	}
	namespace, request := admissioncel.BuildNamespaceType(), admissioncel.BuildRequestType()
	for _, name := range []string{admissioncel.ObjectVarName, admissioncel.OldObjectVarName} {
		request.Fields[name] = apiservercel.NewDeclField(name, apiservercel.DynType, false, nil, nil)
	}
	texts := apiservercel.NewListType(apiservercel.StringType, -1)
	exceptions := apiservercel.NewObjectType("libs.Exception", map[string]*apiservercel.DeclField{
		"allowedImages": apiservercel.NewDeclField("allowedImages", texts, true, nil, nil),
		"allowedValues": apiservercel.NewDeclField("allowedValues", texts, true, nil, nil),
	})
	types, err := apiservercel.NewDeclTypeProvider(namespace, request, exceptions).EnvOptions(base.CELTypeProvider())
	if err != nil {
		return nil, err
	}
	base, err = base.Extend(append(append(kyvernocel.DefaultEnvOptionsWithCompat(),
		celgo.Variable(admissioncel.NamespaceVarName, namespace.CelType()),
		celgo.Variable(admissioncel.ObjectVarName, celgo.DynType),
		celgo.Variable(admissioncel.OldObjectVarName, celgo.DynType),
		celgo.Variable(admissioncel.RequestVarName, request.CelType()),
		celgo.Variable(admissioncel.VariableVarName, celgo.ObjectType(variablesType)),
		celgo.Variable(exceptionsVariable, exceptions.CelType()),
	), types...)...)
	if err != nil {
		return nil, err
	}
	return base.Extend(
		image.Lib(image.Latest()), user.Lib(user.Latest()), hash.Lib(hash.Latest()), math.Lib(math.Latest()),
		json.Lib(&json.JsonImpl{}, json.Latest()), yaml.Lib(&yaml.YamlImpl{}, yaml.Latest()), random.Lib(random.Latest()),
		x509.Lib(x509.Latest()), time.Lib(time.Latest()), transform.Lib(transform.Latest()), gzip.Lib(gzip.Latest()),
		outside(namespaced),
	)
}

// limits let time run out. What an evaluation may cost is limited by the environment, as in Kyverno.
func limits() []celgo.ProgramOption {
	return []celgo.ProgramOption{celgo.InterruptCheckFrequency(celconfig.CheckFrequency)}
}

// provider is a provider of types that knows the variables of one policy, each of the type of its expression.
type provider struct {
	types.Provider
	fields map[string]*types.Type
	names  []string
}

// add makes a variable known to what is compiled from now on.
func (p *provider) add(name string, t *types.Type) {
	if _, known := p.fields[name]; !known {
		p.names = append(p.names, name)
	}
	p.fields[name] = t
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if name == variablesType {
		return types.NewTypeTypeWithParam(types.NewObjectType(variablesType)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if name == variablesType {
		return p.names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name == variablesType {
		t, ok := p.fields[field]
		return &types.FieldType{Type: t}, ok
	}
	return p.Provider.FindStructFieldType(name, field)
}

// NewValue implements types.Provider: no expression makes variables.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if name == variablesType {
		return types.NewErr("%s cannot be made", name)
	}
	return p.Provider.NewValue(name, fields)
}
