package controlplane

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

func (cp *ControlPlane) planEtcd(port int) ([]string, func(context.Context) error, error) {
	peer, err := cp.port(Etcd + " peer")
	if err != nil {
		return nil, nil, err
	}
	client := fmt.Sprintf("http://127.0.0.1:%d", port)
	args := []string{
		"--data-dir=" + cp.file("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", peer),
		fmt.Sprintf("--initial-advertise-peer-urls=http://127.0.0.1:%d", peer),
		fmt.Sprintf("--initial-cluster=default=http://127.0.0.1:%d", peer),
		"--unsafe-no-fsync=true", // nothing here outlives a power cut
		"--log-level=warn",
	}
	return args, func(ctx context.Context) error { return get(ctx, http.DefaultClient, client+"/health") }, nil
}

func (cp *ControlPlane) planAPIServer(port int) ([]string, func(context.Context) error, error) {
	cp.mu.Lock()
	etcd := cp.ports[Etcd]
	cp.endpoint = fmt.Sprintf("https://127.0.0.1:%d", port)
	more := cp.options.APIServer
	cp.mu.Unlock()
	args := []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", etcd),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--endpoint-reconciler-type=none", // a loopback address is no valid endpoint
		"--service-cluster-ip-range=10.96.0.0/16",
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + cp.file("ca.crt"),
		"--tls-cert-file=" + cp.file("apiserver.crt"),
		"--tls-private-key-file=" + cp.file("apiserver.key"),
		"--cert-dir=" + cp.file("certs"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cp.file("sa.pub"),
		"--service-account-signing-key-file=" + cp.file("sa.key"),
		"--requestheader-client-ca-file=" + cp.file("ca.crt"),
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-allowed-names=front-proxy",
		"--profiling=false",
	}
	if cp.options.AuditPolicy != "" {
		args = append(args, "--audit-policy-file="+cp.file("audit-policy.yaml"), "--audit-log-path="+cp.AuditLog(), "--audit-log-mode=blocking")
	}
	if cp.options.WebhookUser != "" {
		config, err := cp.webhookConfig(cp.options.WebhookUser)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, "--admission-control-config-file="+config)
	}
	args = slices.Concat(args, more)
	admin, err := cp.HTTPClient("system:admin", "system:masters")
	if err != nil {
		return nil, nil, err
	}
	ready := func(ctx context.Context) error {
		if err := get(ctx, admin, cp.endpoint+"/readyz"); err != nil {
			return err
		}
		// The API server makes these after it has told that it is ready, and now and then it fails to.
		for _, namespace := range []string{"default", "kube-system"} {
			if err := get(ctx, admin, cp.endpoint+"/api/v1/namespaces/"+namespace); err == nil {
				continue
			}
			if err := createNamespace(ctx, admin, cp.endpoint, namespace); err != nil {
				return err
			}
		}
		return nil
	}
	return args, ready, nil
}

// webhookConfig writes what has kube-apiserver show a user's certificate to every webhook, and returns its path.
func (cp *ControlPlane) webhookConfig(user string) (string, error) {
	id, err := cp.identity(user, nil)
	if err != nil {
		return "", err
	}
	encode := base64.StdEncoding.EncodeToString
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\nusers: [{name: \"*\", user: {client-certificate-data: %s, client-key-data: %s}}]\n", encode(id.certificate), encode(id.key))
	config := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionWebhook
    configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %q}
`, cp.file("webhooks.kubeconfig"))
	return cp.file("admission.yaml"), errors.Join(
		os.WriteFile(cp.file("webhooks.kubeconfig"), []byte(kubeconfig), 0o600), os.WriteFile(cp.file("admission.yaml"), []byte(config), 0o600))
}

// planController plans a component that is a client of the API server, under its own identity.
func (cp *ControlPlane) planController(name string, port int, flags []string) ([]string, func(context.Context) error, error) {
	kubeconfig, err := cp.kubeconfig("system:" + name)
	if err != nil {
		return nil, nil, err
	}
	args := slices.Concat([]string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--cert-dir=" + cp.file("certs-"+name),
		"--leader-elect=false",
		"--profiling=false",
	}, flags)
	// Its own certificate is self-signed, and only whether it listens and is well is asked.
	client := unverifiedClient()
	return args, func(ctx context.Context) error {
		return get(ctx, client, fmt.Sprintf("https://127.0.0.1:%d/healthz", port))
	}, nil
}

// get asks for a URL and wants 200.
func get(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, res.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// createNamespace makes a namespace unless it is there.
func createNamespace(ctx context.Context, client *http.Client, endpoint, name string) error {
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, name)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/api/v1/namespaces", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusConflict {
		return fmt.Errorf("create namespace %s: %s", name, res.Status)
	}
	return nil
}
