package celpolicy

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	group          = "policies.kyverno.io"
	clusterKind    = "ValidatingPolicy"
	namespacedKind = "NamespacedValidatingPolicy"
	exceptionKind  = "PolicyException"
)

// Modes of evaluation.
const (
	modeKubernetes = "Kubernetes"
	modeJSON       = "JSON"
)

// document is a ValidatingPolicy or NamespacedValidatingPolicy: v1, v1beta1 and v1alpha1 have the same fields.
type document struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       spec              `json:"spec"`
	Status     any               `json:"status"`
}

type spec struct {
	MatchConstraints     *admissionv1.MatchResources    `json:"matchConstraints,omitempty"`
	Validations          []admissionv1.Validation       `json:"validations,omitempty"`
	FailurePolicy        string                         `json:"failurePolicy,omitempty"`
	AuditAnnotations     []admissionv1.AuditAnnotation  `json:"auditAnnotations,omitempty"`
	MatchConditions      []admissionv1.MatchCondition   `json:"matchConditions,omitempty"`
	Variables            []admissionv1.Variable         `json:"variables,omitempty"`
	Autogen              *autogenConfiguration          `json:"autogen,omitempty"`
	ValidationActions    []admissionv1.ValidationAction `json:"validationActions,omitempty"`
	WebhookConfiguration *webhookConfiguration          `json:"webhookConfiguration,omitempty"`
	Evaluation           *evaluationConfiguration       `json:"evaluation,omitempty"`
}

type autogenConfiguration struct {
	PodControllers *struct {
		Controllers []string `json:"controllers,omitempty"`
	} `json:"podControllers,omitempty"`
	ValidatingAdmissionPolicy *enabled `json:"validatingAdmissionPolicy,omitempty"`
}

// enabled is a switch; nil inside means its default.
type enabled struct {
	Enabled *bool `json:"enabled,omitempty"`
}

type webhookConfiguration struct {
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`
}

type evaluationConfiguration struct {
	Mode       string   `json:"mode,omitempty"`
	Admission  *enabled `json:"admission,omitempty"`
	Background *enabled `json:"background,omitempty"`
}

// mode is how the policy is evaluated.
func (s *spec) mode() string {
	if s.Evaluation == nil || s.Evaluation.Mode == "" {
		return modeKubernetes
	}
	return s.Evaluation.Mode
}

// admitted says whether the policy judges at admission, and not only what a cluster has already.
func (s *spec) admitted() bool {
	e := s.Evaluation
	return e == nil || e.Admission == nil || e.Admission.Enabled == nil || *e.Admission.Enabled
}

// exceptionDocument is a PolicyException of the same group.
type exceptionDocument struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       struct {
		PolicyRefs []struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"policyRefs"`
		MatchConditions []admissionv1.MatchCondition `json:"matchConditions"`
		Images          []string                     `json:"images"`
		AllowedValues   []string                     `json:"allowedValues"`
		ReportResult    string                       `json:"reportResult"`
		ExpiresAt       *metav1.Time                 `json:"expiresAt"`
		Properties      map[string]string            `json:"properties"`
		EvaluationMode  string                       `json:"evaluationMode"`
	} `json:"spec"`
}
