package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubernetes/pkg/apis/resource"

	"gitgate.dev/gitgate/policies"
)

// adminLabel is the label of namespaces in which devices may be asked for with admin access (KEP-5018).
const adminLabel = resource.DRAAdminNamespaceLabelKey

// labelledNamespaces answers the one question that a strategy asks of the cluster: whether a namespace has that label. What the
// labels of a namespace are is not known here, so the answer is yes, and adminAccess says so.
type labelledNamespaces struct {
	corev1client.NamespaceInterface
}

func (labelledNamespaces) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Namespace, error) {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{adminLabel: "true"}}}, nil
}

// adminAccess warns of requests for devices that the API server takes in labelled namespaces alone.
func adminAccess(obj runtime.Object, m *made) []policies.Violation {
	var requests []resource.DeviceRequest
	at := "spec.devices.requests"
	switch obj := obj.(type) {
	case *resource.ResourceClaim:
		requests = obj.Spec.Devices.Requests
	case *resource.ResourceClaimTemplate:
		requests, at = obj.Spec.Spec.Devices.Requests, "spec.spec.devices.requests"
	}
	var out []policies.Violation
	for i := range requests {
		if exactly := requests[i].Exactly; exactly == nil || exactly.AdminAccess == nil || !*exactly.AdminAccess {
			continue
		}
		p, _ := writtenPath(policies.ParsePath(at).Append(i, "exactly", "adminAccess"), m)
		out = append(out, policies.Violation{
			Rule: ruleWarning, Path: p, Warning: true,
			Message: p.String() + " is only taken in a namespace with the label " + adminLabel + ": \"true\"",
		})
	}
	return out
}
