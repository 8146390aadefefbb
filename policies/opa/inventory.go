package opa

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
)

// Tree is a map of maps under construction.
type Tree map[string]any

// Put sets the value at steps, of which there is at least one.
func (t Tree) Put(value *ast.Term, steps ...string) {
	for _, step := range steps[:len(steps)-1] {
		next, ok := t[step].(Tree)
		if !ok {
			next = Tree{}
			t[step] = next
		}
		t = next
	}
	t[steps[len(steps)-1]] = value
}

// Term is t as a Rego object.
func (t Tree) Term() *ast.Term {
	o := ast.NewObjectWithCapacity(len(t))
	for key, v := range t {
		switch v := v.(type) {
		case Tree:
			o.Insert(ast.InternedTerm(key), v.Term())
		case *ast.Term:
			o.Insert(ast.InternedTerm(key), v)
		}
	}
	return ast.NewTerm(o)
}

// NameOf is the name of an object of the set, or the one that it will have been given; "" when it has none.
func NameOf(o *policies.Object) string {
	if o.Name != "" {
		return o.Name
	}
	if prefix, ok := policies.Lookup(o.Map(), policies.Path{"metadata", "generateName"}); ok {
		if text, ok := prefix.(string); ok && text != "" {
			return text + GeneratedSuffix
		}
	}
	return ""
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

// NamespaceOf is where an object of the set lies: where it says, or in default, as kubectl applies it, when its kind is known to
// have a namespace.
func NamespaceOf(o *policies.Object) string {
	builtIn := !strings.Contains(o.Kind.Group, ".") || strings.HasSuffix(o.Kind.Group, ".k8s.io")
	if o.Namespace == "" && builtIn && !clusterScoped[o.Kind.Kind] {
		return "default"
	}
	return o.Namespace
}
