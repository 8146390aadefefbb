package admission

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// newestKubernetes is the version whose API server code this package is built with.
const newestKubernetes = "1.36"

// Environments makes the CEL environments in which the API server of one Kubernetes version compiles the expressions of
// admission policies (k8s.io/apiserver/pkg/admission/plugin/cel, compile.go): its libraries, limits, variables and types.
type Environments struct {
	base      *celgo.Env
	keywords  bool // fields may be named as CEL keywords are
	namespace *apiservercel.DeclType
	request   *apiservercel.DeclType

	mu    sync.Mutex
	plain map[bool]*celgo.Env // by whether params are declared
}

// NewEnvironments makes the environments of a version like "1.36"; "" means the newest known.
func NewEnvironments(kubernetes string) (*Environments, error) {
	if kubernetes == "" {
		kubernetes = newestKubernetes
	}
	majorText, minorText, ok := strings.Cut(kubernetes, ".")
	major, errMajor := strconv.ParseUint(majorText, 10, 16)
	minor, errMinor := strconv.ParseUint(minorText, 10, 16)
	if !ok || errMajor != nil || errMinor != nil || major != 1 || minor < 30 {
		return nil, fmt.Errorf("kubernetes version %q: expected 1.30 or later, as in %q", kubernetes, newestKubernetes)
	}
	// An API server lets new expressions use what the version before it knows too, so that it can be rolled back.
	compatible := version.MajorMinor(uint(major), uint(minor-1))
	return &Environments{
		base:      environment.MustBaseEnvSet(compatible).NewExpressionsEnv(),
		keywords:  compatible.AtLeast(version.MajorMinor(1, 31)),
		namespace: admissioncel.BuildNamespaceType(),
		request:   admissioncel.BuildRequestType(),
		plain:     map[bool]*celgo.Env{},
	}, nil
}

// stateless is the environment without composition, for match conditions and for policies that have no variables.
func (e *Environments) stateless(params bool) (*celgo.Env, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if env := e.plain[params]; env != nil {
		return env, nil
	}
	env, err := e.extend(params, nil)
	if err != nil {
		return nil, err
	}
	e.plain[params] = env
	return env, nil
}

// composed is the environment in which "variables" is of the given type. Fields may be added to the type afterwards.
func (e *Environments) composed(params bool, variables *apiservercel.DeclType) (*celgo.Env, error) {
	return e.extend(params, variables)
}

func (e *Environments) extend(params bool, variables *apiservercel.DeclType) (*celgo.Env, error) {
	types := []*apiservercel.DeclType{e.namespace, e.request}
	opts := []celgo.EnvOption{
		celgo.Variable(admissioncel.ObjectVarName, celgo.DynType),
		celgo.Variable(admissioncel.OldObjectVarName, celgo.DynType),
		celgo.Variable(admissioncel.NamespaceVarName, e.namespace.CelType()),
		celgo.Variable(admissioncel.RequestVarName, e.request.CelType()),
		celgo.Variable(admissioncel.AuthorizerVarName, library.AuthorizerType),
		celgo.Variable(admissioncel.RequestResourceAuthorizerVarName, library.ResourceCheckType),
	}
	if params {
		opts = append(opts, celgo.Variable(admissioncel.ParamsVarName, celgo.DynType))
	}
	if variables != nil {
		types = append(types, variables)
		opts = append(opts, celgo.Variable(admissioncel.VariableVarName, variables.CelType()))
	}
	provider := apiservercel.NewDeclTypeProvider(types...)
	provider.SetRecognizeKeywordAsFieldName(e.keywords)
	providerOpts, err := provider.EnvOptions(e.base.CELTypeProvider())
	if err != nil {
		return nil, fmt.Errorf("CEL types of admission policies: %w", err)
	}
	env, err := e.base.Extend(append(opts, providerOpts...)...)
	if err != nil {
		return nil, fmt.Errorf("CEL environment of admission policies: %w", err)
	}
	return env, nil
}
