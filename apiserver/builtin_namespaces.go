package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// labelledNamespaces answers the one question that a strategy asks of the cluster: whether a namespace allows admin access to
// devices (KEP-5018). The labels of namespaces are for policies to look at, so the answer here is yes.
type labelledNamespaces struct {
	corev1client.NamespaceInterface
}

func (labelledNamespaces) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Namespace, error) {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"resource.kubernetes.io/admin-access": "true"}}}, nil
}
