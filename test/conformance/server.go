package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Plugins are the admission plugins that are on by default in Kubernetes 1.36 and off in the API server of the table: what they do
// depends on other objects of the cluster, on who asks, or on a policy. Those that look at the object alone stay on
// (DefaultTolerationSeconds, TaintNodesByCondition, StorageObjectInUseProtection, CertificateSubjectRestriction). Of ServiceAccount
// the part that any cluster does, naming the account default, is done by Ask.
var Plugins = []string{
	"NamespaceLifecycle", "LimitRanger", "ServiceAccount", "PodSecurity", "Priority", "DefaultStorageClass", "PersistentVolumeClaimResize",
	"PodGroupProtection", "PodGroupWorkloadExists", "RuntimeClass", "CertificateApproval", "CertificateSigning", "ClusterTrustBundleAttest",
	"DefaultIngressClass", "PodTopologyLabels", "NodeDeclaredFeatureValidator", "JobValidation", "PodResizeValidator",
	"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota",
}

// Server asks a real API server that has no admission plugins.
type Server struct {
	URL    string
	Client *http.Client // of a user that may do everything

	mu        sync.Mutex
	resources map[string]map[string]resourceInfo // apiVersion -> kind
}

type resourceInfo struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced"`
}

// manager is the field manager that all is applied by.
const manager = "gitgate"

// Kinds lists what the API server serves and keeps, as apps/v1/Deployment, sorted: what can be created and read.
func (s *Server) Kinds(ctx context.Context) ([]string, error) {
	var groups struct {
		Groups []struct {
			Versions []struct{ GroupVersion string }
		}
	}
	_, body, err := s.send(ctx, http.MethodGet, "/apis", nil)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &groups); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	versions := []string{"v1"}
	for _, g := range groups.Groups {
		for _, v := range g.Versions {
			versions = append(versions, v.GroupVersion)
		}
	}
	var kinds []string
	for _, version := range versions {
		root := "/apis/" + version
		if version == "v1" {
			root = "/api/v1"
		}
		var list struct {
			Resources []struct {
				Name, Kind string
				Verbs      []string
			}
		}
		_, body, err := s.send(ctx, http.MethodGet, root, nil)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, fmt.Errorf("discovery of %s: %w", version, err)
		}
		for _, r := range list.Resources {
			if !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "create") && slices.Contains(r.Verbs, "get") {
				kinds = append(kinds, version+"/"+r.Kind)
			}
		}
	}
	slices.Sort(kinds)
	return kinds, nil
}

// send speaks JSON; a PATCH is a server-side apply. What the API server has no time for it is asked again, for some minutes.
func (s *Server) send(ctx context.Context, method, path string, object map[string]any) (status int, body []byte, err error) {
	text, err := json.Marshal(object)
	if err != nil {
		return 0, nil, err
	}
	for range 300 {
		req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(text))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/apply-patch+yaml")
		}
		res, err := s.Client.Do(req)
		if err != nil && strings.Contains(err.Error(), "INTERNAL_ERROR; received from peer") {
			return http.StatusInternalServerError, []byte(`{"kind":"Status","reason":"` + Crashed + `"}`), nil
		}
		if err != nil {
			return 0, nil, err
		}
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return 0, nil, err
		}
		status = res.StatusCode
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout {
			return status, body, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return status, body, nil
}

// delete removes what was written, whatever holds it.
func (s *Server) delete(ctx context.Context, path string) {
	_ = s.merge(ctx, path, `{"metadata":{"finalizers":null},"spec":{"finalizers":null}}`)
	_, _, _ = s.send(ctx, http.MethodDelete, path+"?gracePeriodSeconds=0", map[string]any{})
}

// storageOf is the storage that a PersistentVolumeClaim asks for.
func storageOf(claim map[string]any) any {
	storage, _ := policies.Lookup(claim, policies.Path{"spec", "resources", "requests", "storage"})
	return storage
}

// merge sends a merge patch; what the server says of it is not read.
func (s *Server) merge(ctx context.Context, path, patch string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, s.URL+path, strings.NewReader(patch))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/merge-patch+json")
	res, err := s.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// install writes CRDs, waits until they serve, and returns what removes them.
func (s *Server) install(ctx context.Context, crds []map[string]any) (remove func(), err error) {
	const base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
	var names []string
	remove = func() {
		for _, name := range names {
			s.delete(context.WithoutCancel(ctx), base+name)
		}
	}
	done := map[string]bool{}
	for _, crd := range crds {
		name, _ := crd["metadata"].(map[string]any)["name"].(string)
		if done[name] {
			continue
		}
		done[name] = true
		status, body, err := s.send(ctx, http.MethodPatch, base+name+"?force=true&fieldManager="+manager, crd)
		if err != nil || status/100 != 2 {
			return remove, fmt.Errorf("write CRD %s: %d %s %w", name, status, body, err)
		}
		names = append(names, name)
		if err := s.established(ctx, base+name); err != nil {
			return remove, err
		}
		spec := crd["spec"].(map[string]any)
		for _, v := range spec["versions"].([]any) {
			url := fmt.Sprintf("/apis/%s/%s/%s", spec["group"], v.(map[string]any)["name"], spec["names"].(map[string]any)["plural"])
			for {
				status, _, err := s.send(ctx, http.MethodGet, url, nil)
				if err != nil {
					return remove, err
				}
				if status == http.StatusOK || v.(map[string]any)["served"] == false {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	s.mu.Lock()
	s.resources = nil
	s.mu.Unlock()
	return remove, nil
}

var isEstablished = regexp.MustCompile(`"status":"True"[^}]*"type":"Established"|"type":"Established"[^}]*"status":"True"`)

// established waits until the CRD at a path has the names that it asks for.
func (s *Server) established(ctx context.Context, path string) error {
	for {
		_, body, err := s.send(ctx, http.MethodGet, path, nil)
		if err != nil || isEstablished.Match(body) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// path is where objects of a kind are created, or one object is.
func (s *Server) path(ctx context.Context, object map[string]any, named bool) (string, error) {
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	info, err := s.resource(ctx, apiVersion, kind)
	if err != nil {
		return "", err
	}
	root := "/apis/" + apiVersion
	if !strings.Contains(apiVersion, "/") {
		root = "/api/" + apiVersion
	}
	metadata, _ := object["metadata"].(map[string]any)
	if info.Namespaced {
		namespace, _ := metadata["namespace"].(string)
		if namespace == "" {
			namespace = "default"
		}
		root += "/namespaces/" + url.PathEscape(namespace)
	}
	root += "/" + info.Name
	if named {
		name, _ := metadata["name"].(string)
		root += "/" + url.PathEscape(name)
	}
	return root, nil
}

func (s *Server) resource(ctx context.Context, apiVersion, kind string) (resourceInfo, error) {
	s.mu.Lock()
	known := s.resources[apiVersion]
	s.mu.Unlock()
	if known == nil {
		root := "/apis/" + apiVersion
		if !strings.Contains(apiVersion, "/") {
			root = "/api/" + apiVersion
		}
		status, body, err := s.send(ctx, http.MethodGet, root, nil)
		if err != nil {
			return resourceInfo{}, err
		}
		var list struct{ Resources []resourceInfo }
		if status == http.StatusNotFound {
			body = []byte("{}")
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return resourceInfo{}, fmt.Errorf("discovery of %s: %w", apiVersion, err)
		}
		known = map[string]resourceInfo{}
		for _, r := range list.Resources {
			if !strings.Contains(r.Name, "/") {
				known[r.Kind] = r
			}
		}
		s.mu.Lock()
		if s.resources == nil {
			s.resources = map[string]map[string]resourceInfo{}
		}
		s.resources[apiVersion] = known
		s.mu.Unlock()
	}
	if info, ok := known[kind]; ok {
		return info, nil
	}
	// Not served: any path below the version answers so.
	return resourceInfo{Name: strings.ToLower(kind) + "s", Kind: kind, Namespaced: true}, nil
}
