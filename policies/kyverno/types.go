package kyverno

import (
	"bytes"
	"encoding/json"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unsupported is the type of a field that is known and that this package does not judge by: setting it is an error.
type unsupported any

// anything is the type of a field whose content is no matter of types: a pattern, a value, or what is not judged at all.
type anything = any

// document is a ClusterPolicy or a Policy (kyverno.io/v1, v2beta1).
type document struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       spec              `json:"spec"`
	Status     anything          `json:"status"`
}

type spec struct {
	Rules                            []rule                `json:"rules"`
	ApplyRules                       string                `json:"applyRules"`
	FailurePolicy                    string                `json:"failurePolicy"`
	ValidationFailureAction          string                `json:"validationFailureAction"`
	ValidationFailureActionOverrides []override            `json:"validationFailureActionOverrides"`
	EmitWarning                      *bool                 `json:"emitWarning"`
	Admission                        *bool                 `json:"admission"`
	Background                       *bool                 `json:"background"`
	SchemaValidation                 *bool                 `json:"schemaValidation"`
	WebhookTimeoutSeconds            *int32                `json:"webhookTimeoutSeconds"`
	MutateExistingOnPolicyUpdate     bool                  `json:"mutateExistingOnPolicyUpdate"`
	GenerateExistingOnPolicyUpdate   *bool                 `json:"generateExistingOnPolicyUpdate"`
	GenerateExisting                 bool                  `json:"generateExisting"`
	UseServerSideApply               bool                  `json:"useServerSideApply"`
	WebhookConfiguration             *webhookConfiguration `json:"webhookConfiguration"`
}

type webhookConfiguration struct {
	FailurePolicy   string                       `json:"failurePolicy"`
	TimeoutSeconds  *int32                       `json:"timeoutSeconds"`
	MatchConditions []admissionv1.MatchCondition `json:"matchConditions"`
}

type override struct {
	Action            string                `json:"action"`
	Namespaces        []string              `json:"namespaces"`
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
}

type rule struct {
	Name                   string                       `json:"name"`
	Context                []contextEntry               `json:"context"`
	ReportProperties       map[string]string            `json:"reportProperties"`
	Match                  matchBlock                   `json:"match"`
	Exclude                *matchBlock                  `json:"exclude"`
	ImageExtractors        anything                     `json:"imageExtractors"` // of verifyImages alone
	Preconditions          *conditions                  `json:"preconditions"`
	CELPreconditions       []admissionv1.MatchCondition `json:"celPreconditions"`
	Mutate                 anything                     `json:"mutate"`
	Validate               *validation                  `json:"validate"`
	Generate               anything                     `json:"generate"`
	VerifyImages           anything                     `json:"verifyImages"`
	SkipBackgroundRequests *bool                        `json:"skipBackgroundRequests"`
}

type validation struct {
	FailureAction           string       `json:"failureAction"`
	FailureActionOverrides  []override   `json:"failureActionOverrides"`
	AllowExistingViolations *bool        `json:"allowExistingViolations"`
	Message                 string       `json:"message"`
	Manifests               unsupported  `json:"manifests"`
	Foreach                 []foreach    `json:"foreach"`
	Pattern                 anything     `json:"pattern"`
	AnyPattern              []anything   `json:"anyPattern"`
	Deny                    *deny        `json:"deny"`
	PodSecurity             *podSecurity `json:"podSecurity"`
	CEL                     *cel         `json:"cel"`
	Assert                  unsupported  `json:"assert"`
}

type cel struct {
	Generate         *bool                         `json:"generate"`
	Expressions      []admissionv1.Validation      `json:"expressions"`
	ParamKind        *admissionv1.ParamKind        `json:"paramKind"`
	ParamRef         *admissionv1.ParamRef         `json:"paramRef"`
	AuditAnnotations []admissionv1.AuditAnnotation `json:"auditAnnotations"`
	Variables        []admissionv1.Variable        `json:"variables"`
}

type deny struct {
	Conditions *conditions `json:"conditions"`
}

type foreach struct {
	List          string         `json:"list"`
	ElementScope  *bool          `json:"elementScope"`
	Context       []contextEntry `json:"context"`
	Preconditions *conditions    `json:"preconditions"`
	Pattern       anything       `json:"pattern"`
	AnyPattern    []anything     `json:"anyPattern"`
	Deny          *deny          `json:"deny"`
	Foreach       []foreach      `json:"foreach"`
}

type contextEntry struct {
	Name            string              `json:"name"`
	ConfigMap       *configMapReference `json:"configMap"`
	APICall         *apiCall            `json:"apiCall"`
	ImageRegistry   anything            `json:"imageRegistry"`
	GlobalReference *globalReference    `json:"globalReference"`
	Variable        *variable           `json:"variable"`
}

type configMapReference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type apiCall struct {
	URLPath  string       `json:"urlPath"`
	Method   string       `json:"method"`
	Data     anything     `json:"data"`
	Service  *serviceCall `json:"service"`
	Default  anything     `json:"default"`
	JMESPath string       `json:"jmesPath"`
}

type serviceCall struct {
	URL      string   `json:"url"`
	Headers  anything `json:"headers"`
	CABundle string   `json:"caBundle"`
}

type globalReference struct {
	Name     string `json:"name"`
	JMESPath string `json:"jmesPath"`
}

type variable struct {
	Value    anything `json:"value"`
	JMESPath string   `json:"jmesPath"`
	Default  anything `json:"default"`
}

// conditions is a block of any and all, or the list that it was before: all of that have to hold.
type conditions struct {
	Any []condition `json:"any"`
	All []condition `json:"all"`
	Old []condition `json:"-"`
}

type condition struct {
	Key      anything `json:"key"`
	Operator string   `json:"operator"`
	Value    anything `json:"value"`
	Message  string   `json:"message"`
}

// UnmarshalJSON reads both forms.
func (c *conditions) UnmarshalJSON(text []byte) error {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '[' {
		return json.Unmarshal(text, &c.Old)
	}
	type plain conditions
	return json.Unmarshal(text, (*plain)(c))
}

type matchBlock struct {
	Any []filter `json:"any"`
	All []filter `json:"all"`
	filter
}

type filter struct {
	Resources    resources        `json:"resources"`
	Roles        []string         `json:"roles"`
	ClusterRoles []string         `json:"clusterRoles"`
	Subjects     []rbacv1.Subject `json:"subjects"`
}

type resources struct {
	Kinds             []string              `json:"kinds"`
	Name              string                `json:"name"`
	Names             []string              `json:"names"`
	Namespaces        []string              `json:"namespaces"`
	Annotations       map[string]string     `json:"annotations"`
	Selector          *metav1.LabelSelector `json:"selector"`
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
	Operations        []string              `json:"operations"`
}

type podSecurity struct {
	Level   string        `json:"level"`
	Version string        `json:"version"`
	Exclude []podStandard `json:"exclude"`
}

type podStandard struct {
	ControlName     string   `json:"controlName"`
	Images          []string `json:"images"`
	RestrictedField string   `json:"restrictedField"`
	Values          []string `json:"values"`
}

// exceptionDocument is a PolicyException (kyverno.io/v2, v2beta1, v2alpha1).
type exceptionDocument struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       exceptionSpec     `json:"spec"`
}

type exceptionSpec struct {
	Background  *bool         `json:"background"`
	Match       matchBlock    `json:"match"`
	Conditions  *conditions   `json:"conditions"`
	Exceptions  []excepted    `json:"exceptions"`
	PodSecurity []podStandard `json:"podSecurity"`
}

type excepted struct {
	PolicyName string   `json:"policyName"`
	RuleNames  []string `json:"ruleNames"`
}
