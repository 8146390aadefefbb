package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// nodesComeUp is what has to be written before a Pod of the gate can start on another node. No replica of it answers.
func nodesComeUp(t *testing.T, s *scene) {
	nodes := s.As("system:serviceaccount:kube-system:node-controller", []string{"system:masters"}, "v1 Node", "")
	taint := []byte(`{"spec":{"taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoSchedule"}]}}`)
	if _, err := nodes.Patch(t.Context(), "node-1", types.StrategicMergePatchType, taint, metav1.PatchOptions{}); err != nil {
		t.Errorf("the taint of a node waits for the gate: %v", err)
	}
	if said, err := s.Kubectl("ann", "label", "node/node-1", "zone=a"); err != nil {
		t.Errorf("a node waits for the gate: %s", said)
	}
	signing := s.As("system:node:node-2", []string{"system:nodes", "system:masters"}, "certificates.k8s.io/v1 CertificateSigningRequest", "")
	if _, err := signing.Create(t.Context(), kubeletCertificate(t, "node-2"), metav1.CreateOptions{}); err != nil {
		t.Errorf("the certificate of a kubelet waits for the gate: %v", err)
	}
	if said, err := s.Kubectl("ann", "create", "clusterrole", "waits", "--verb=get", "--resource=pods"); err == nil || !strings.Contains(said, "failed calling webhook") {
		t.Errorf("a role of the cluster does not wait for the gate: %v: %s", err, said)
	}
}

// nodesAreJudged is the same while the gate answers.
func nodesAreJudged(t *testing.T, s *scene) {
	asked := func() float64 {
		return s.Metric("gitgate_admission_requests_total", `resource="nodes"`, `operation="UPDATE"`)
	}
	s.Eventually("the gate is not asked once", func() error { // a controller may write the node meanwhile
		before := asked()
		said, err := s.Kubectl("ann", "label", "node/node-1", "owner=ann")
		if err == nil {
			t.Errorf("a person writes a node: %s", said)
		}
		wantAll(t, said, "system.gitgate.dev", "Node node-1")
		if n := asked() - before; n != 1 {
			return fmt.Errorf("it was asked %v times", n)
		}
		return nil
	})
}

func kubeletCertificate(t *testing.T, node string) *unstructured.Unstructured {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": map[string]any{"name": node},
		"spec": map[string]any{
			"request": base64.StdEncoding.EncodeToString(text), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
			"usages": []any{"digital signature", "client auth"},
		},
	}}
}
