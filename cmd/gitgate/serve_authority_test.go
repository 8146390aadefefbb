package main

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/webhook/certs"
)

const webhookName = "gitgate"

func configuration() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: webhookName},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "gate.gitgate.dev"}},
	}
}

// replica is one of the processes that share a Secret.
func replica(kube *fake.Clientset) *authority {
	return &authority{
		cluster:   cluster.New(cluster.Clients{Kubernetes: kube}, nil),
		namespace: "gitgate", name: "gitgate-tls", names: []string{"gitgate.gitgate.svc"}, webhook: webhookName, keeper: &certs.Keeper{},
	}
}

// trusted says whether the certificate that a serves is one that the webhook's configuration trusts.
func (a *authority) trusted(t *testing.T, kube *fake.Clientset, now time.Time) bool {
	t.Helper()
	c, err := kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), webhookName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Webhooks[0].ClientConfig.CABundle)
	pair, err := a.keeper.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "gitgate.gitgate.svc", CurrentTime: now})
	return err == nil
}

func TestReplicasShareAnAuthorityAndAreTrustedThroughEveryRenewal(t *testing.T) {
	t.Parallel()
	kube := fake.NewClientset(configuration())
	a, b := replica(kube), replica(kube)
	start := time.Now()
	served := map[string]bool{}
	for day := range 400 {
		now := start.Add(time.Duration(day) * 24 * time.Hour)
		for i, r := range []*authority{a, b} {
			if i == 1 && day%3 != 0 {
				continue // it looks less often, and serves the certificate of before meanwhile
			}
			if _, err := r.turn(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
		if !a.trusted(t, kube, now) || !b.trusted(t, kube, now) {
			t.Fatalf("day %d: a replica is not trusted", day)
		}
		served[string(a.served.Cert)] = true
	}
	if n := len(served); n < 4 || n > 10 {
		t.Errorf("%d certificates in 400 days", n)
	}
}

func TestACertificateThatIsNotTrustedYetIsNotServedInPlaceOfOneThatIs(t *testing.T) {
	t.Parallel()
	kube := fake.NewClientset(configuration())
	a := replica(kube)
	start := time.Now()
	if changed, err := a.turn(t.Context(), start); err != nil || !changed {
		t.Fatal(changed, err)
	}
	refuse := true
	kube.PrependReactor("patch", "validatingwebhookconfigurations", func(ktesting.Action) (bool, runtime.Object, error) {
		return refuse, nil, errors.New("down")
	})
	later := start.Add(250 * 24 * time.Hour) // the authority is due, and the certificate has expired long ago
	soon := start.Add(89 * 24 * time.Hour)   // the certificate is due
	a.names = []string{"gitgate.gitgate.svc"}
	if changed, err := a.turn(t.Context(), soon); err != nil || !changed {
		t.Fatalf("a certificate of the same authority needs no word to the webhook: %v, %v", changed, err)
	}
	before := a.served
	if changed, err := a.turn(t.Context(), later); err == nil || !changed {
		t.Errorf("nothing that is good is left, so the new one is served: changed %v, %v", changed, err)
	}
	refuse = false
	if _, err := a.turn(t.Context(), later); err != nil || !a.trusted(t, kube, later) || a.served.Equal(before) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestReplicasThatStartTogetherMakeOneAuthority(t *testing.T) {
	t.Parallel()
	kube := fake.NewClientset(configuration())
	replicas := make([]*authority, 4)
	errs := make(chan error, len(replicas))
	for i := range replicas {
		replicas[i] = replica(kube)
		go func(ctx context.Context) {
			_, err := replicas[i].turn(ctx, time.Now())
			errs <- err
		}(t.Context())
	}
	for range replicas {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, r := range replicas {
		if string(r.served.CA) != string(replicas[0].served.CA) {
			t.Error("two authorities were made")
		}
	}
}

func TestAnAuthorityThatWasRenewedMeanwhileIsTrustedInTheEnd(t *testing.T) {
	t.Parallel()
	kube := fake.NewClientset(configuration())
	first := replica(kube)
	first.webhook = ""
	start := time.Now()
	if _, err := first.turn(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	next, changed, err := certs.Authority{}.Renew(first.names, start)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	secret, err := kube.CoreV1().Secrets("gitgate").Get(t.Context(), "gitgate-tls", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{keyCA: next.CA, keyCAKey: next.CAKey, keyCert: next.Cert, keyCertKey: next.CertKey}
	renewed := false
	kube.PrependReactor("patch", "validatingwebhookconfigurations", func(ktesting.Action) (bool, runtime.Object, error) {
		if renewed {
			return false, nil, nil
		}
		renewed = true // between the look at the Secret and the word to the webhook
		return false, nil, kube.Tracker().Update(corev1.SchemeGroupVersion.WithResource("secrets"), secret, "gitgate")
	})
	second := replica(kube)
	if _, err := second.turn(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	c, err := kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), webhookName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !renewed || string(c.Webhooks[0].ClientConfig.CABundle) != string(next.CA) || !second.served.Equal(next) {
		t.Errorf("renewed meanwhile %v: the webhook's configuration trusts the authority of before", renewed)
	}
}
