package world

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// gateImage is what images of gitgate begin with.
const gateImage = "registry.gitgate.dev/gitgate:"

// podTimeout is how long a container may take that is to end by itself.
const podTimeout = patience

// runPod runs gitgate with the arguments of a Pod's only container: with the token of the Pod's service account, if the Pod is to have
// one, which the node asks the API server for, and with no other identity. The gate's Service it finds by name. It returns the exit code;
// what is written goes to a log of the Pod's name.
func (w *World) runPod(ctx context.Context, node kubernetes.Interface, p *corev1.Pod) int32 {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	log, err := os.OpenFile(w.logFile(p.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 1
	}
	defer log.Close()
	proxy := w.serviceProxy()
	defer proxy.Close()
	cmd := exec.CommandContext(ctx, w.options.Program, p.Spec.Containers[0].Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, log, log
	cmd.Env = []string{"HTTP_PROXY=" + proxy.URL, "HOME=/nonexistent"}
	if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
		file, err := w.tokenKubeconfig(ctx, node, p)
		if err != nil {
			fmt.Fprintln(log, err)
			return 1
		}
		cmd.Env = append(cmd.Env, "KUBECONFIG="+file)
	}
	switch err, exit := cmd.Run(), (*exec.ExitError)(nil); {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return int32(exit.ExitCode())
	default:
		fmt.Fprintln(log, err)
		return 1
	}
}

// tokenKubeconfig writes a kubeconfig of a Pod's service account, with a token that is bound to the Pod.
func (w *World) tokenKubeconfig(ctx context.Context, node kubernetes.Interface, p *corev1.Pod) (string, error) {
	token, err := node.CoreV1().ServiceAccounts(p.Namespace).CreateToken(ctx, p.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: pod
contexts: [{name: pod, context: {cluster: pod, user: pod}}]
clusters: [{name: pod, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: pod, user: {token: %s}}]
`, w.Endpoint(), base64.StdEncoding.EncodeToString(w.CA()), token.Status.Token)
	file := filepath.Join(w.dir, "kubeconfig-"+string(p.UID))
	return file, os.WriteFile(file, []byte(text), 0o600)
}
