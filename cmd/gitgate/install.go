package main

import (
	"context"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:embed install
var staticManifests embed.FS

var webhooksResource = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}

// installFlags are the flags of gitgate install: exactly one of static, remove and probe is given.
type installFlags struct {
	static string
	mount  string
	url    string
	ca     string
	fail   string
	users  []string
	remove string
	probe  string
	kube   kubeFlags
}

func (p *program) installCommand() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install (--static DIR | --remove NAME | --probe URL)",
		Short: "Write manifests for the API server itself; remove; probe",
		Long: strings.TrimSpace(`
--static DIR writes manifests for the API server's manifest-based admission (Kubernetes 1.36 with the feature gate
ManifestBasedAdmissionControlConfig, 1.37 and later without). They hold what a webhook that is registered through the API never sees: writes to
webhook configurations and admission policies. An admission policy lets only --user write them, and the gate at --url judges what is written. Nobody can change
them through the API; they are removed by removing the files.

--remove NAME deletes the ValidatingWebhookConfiguration NAME, so that the API server no longer asks the gate. The chart does so before it is removed.

--probe URL asks for a page once and says whether it answers with 200, as a test of the chart does.`),
		Example: `  gitgate install --static /etc/kubernetes/gitgate --url https://10.96.0.50/validate --ca-file ca.crt --user system:serviceaccount:flux-system:kustomize-controller`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, v := range []string{f.static, f.remove, f.probe} {
				if v != "" {
					given++
				}
			}
			switch {
			case given != 1:
				return usage("install: expected one of --static DIR, --remove NAME and --probe URL")
			case f.static != "":
				return p.installStatic(f)
			case f.remove != "":
				return p.removeWebhook(cmd.Context(), f)
			default:
				return p.probe(cmd.Context(), f.probe)
			}
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.static, "static", "", "folder for the manifests of the API server; it is made, and no file in it is overwritten")
	flags.StringVar(&f.mount, "mounted-at", "", "with --static: the absolute path of that folder as the API server sees it (default: the same)")
	flags.StringVar(&f.url, "url", "", "with --static: https URL under which the API server reaches the gate; a Service's name is not enough, an address is")
	flags.StringVar(&f.ca, "ca-file", "", "with --static: PEM file of the authority of the gate's certificate")
	flags.StringVar(&f.fail, "failure-policy", "Fail", "with --static: Fail or Ignore, while the gate does not answer")
	flags.StringArrayVar(&f.users, "user", nil, "with --static: user name that may write webhook configurations and admission policies, in full; may be repeated: the reconciler, and the gate's own service account when it keeps its own authority (--tls-secret)")
	flags.StringVar(&f.remove, "remove", "", "name of a ValidatingWebhookConfiguration to delete")
	flags.StringVar(&f.probe, "probe", "", "http or https URL to ask")
	f.kube.add(flags)
	return cmd
}

// installStatic writes the manifests. Files that exist are not touched: they may be in use by a running API server.
func (p *program) installStatic(f installFlags) error {
	mount := f.mount
	if mount == "" {
		mount = p.abs(f.static)
	}
	address, err := url.Parse(f.url)
	switch {
	case f.url == "" || f.ca == "":
		return usage("install --static: needs --url and --ca-file, where and by whose word the API server finds the gate")
	case err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "":
		return usage("--url %s: expected an https URL without a user or a query", f.url)
	case !filepath.IsAbs(mount) || strings.ContainsAny(mount, "\n\r\"'"):
		return usage("--mounted-at %s: expected an absolute path", mount)
	case f.fail != "Fail" && f.fail != "Ignore":
		return usage("--failure-policy %s: expected Fail or Ignore", f.fail)
	case len(f.users) == 0:
		return usage("install --static: needs --user, or nobody could ever change an admission policy: the reconciler's service account, such as system:serviceaccount:flux-system:kustomize-controller")
	}
	ca, err := os.ReadFile(p.abs(f.ca))
	if err != nil {
		return usage("--ca-file: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return usage("--ca-file %s: has no certificate", f.ca)
	}
	var users []string
	for _, u := range f.users {
		quoted, err := json.Marshal(u) // JSON's text is CEL's too
		if err != nil || u == "" || strings.ContainsAny(u, "\n\r") {
			return usage("--user %q: expected a user name", u)
		}
		users = append(users, string(quoted))
	}
	values := strings.NewReplacer(
		"{{dir}}", filepath.ToSlash(mount), "{{url}}", yamlText(f.url), "{{ca}}", base64.StdEncoding.EncodeToString(ca),
		"{{failurePolicy}}", f.fail, "{{users}}", strings.Join(users, ", "),
	)
	dir := p.abs(f.static)
	for _, m := range []struct{ template, name string }{
		{"policy.yaml", "policies/gitgate.yaml"}, {"webhook.yaml", "webhooks/gitgate.yaml"}, {"admission.yaml", "admission.yaml"},
	} {
		text, err := fs.ReadFile(staticManifests, "install/"+m.template)
		if err != nil {
			return err
		}
		if err := writeNew(filepath.Join(dir, filepath.FromSlash(m.name)), values.Replace(string(text))); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "wrote %s\n", p.shown(filepath.Join(dir, m.name)))
	}
	_, err = fmt.Fprintf(p.stderr, "next, on every API server: --admission-control-config-file=%s/admission.yaml, and on Kubernetes 1.36 --feature-gates=ManifestBasedAdmissionControlConfig=true\n", filepath.ToSlash(mount))
	return err
}

// yamlText writes a text so that YAML reads it as that text.
func yamlText(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(quoted)
}

// writeNew writes a file that must not exist yet.
func writeNew(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return exitWith(exitUsage, fmt.Errorf("install: %w", err))
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usage("install: file %s exists: an API server may be using it, so it is not overwritten", name)
	}
	if err != nil {
		return exitWith(exitUsage, fmt.Errorf("install: %w", err))
	}
	_, err = io.WriteString(file, text)
	if err := errors.Join(err, file.Close()); err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("install: %w", err))
	}
	return nil
}

func (p *program) removeWebhook(ctx context.Context, f installFlags) error {
	client, err := dynamicClient(&f.kube)
	if err != nil {
		return err
	}
	err = client.Resource(webhooksResource).Delete(ctx, f.remove, metav1.DeleteOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = fmt.Fprintf(p.stderr, "%s is not registered\n", f.remove)
		return err
	case err != nil:
		return unreachable("remove", err)
	}
	_, err = fmt.Fprintf(p.stderr, "%s is removed: the API server no longer asks the gate\n", f.remove)
	return err
}

// probeTimeout is how long a probe waits for an answer.
const probeTimeout = 10 * time.Second

func (p *program) probe(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil || (request.URL.Scheme != "http" && request.URL.Scheme != "https") {
		return usage("--probe %s: expected an http or https URL", address)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("probe: %w", err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return exitWith(exitDenied, fmt.Errorf("probe: %s answers %s", address, answer.Status))
	}
	_, err = fmt.Fprintf(p.stderr, "%s answers %s\n", address, answer.Status)
	return err
}
