package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// Ask sends every case as a dry run that must not be forgiving, and returns the answers in their order. What an update replaces,
// and the CRDs of a case, are really written, each for the time that it is needed.
func (s *Server) Ask(ctx context.Context, cases []Case) ([]Answer, error) {
	answers := make([]Answer, len(cases))
	var groups [][]int // cases that share an old object stay together
	byOld := map[string]int{}
	var crds []map[string]any
	for i, c := range cases {
		crds = append(crds, c.CRDs...)
		if c.Old == nil {
			groups = append(groups, []int{i})
			continue
		}
		key := c.Base[:strings.LastIndex(c.Base, "/")] // one kind after the other: Services would take each other's ports
		if at, ok := byOld[key]; ok {
			groups[at] = append(groups[at], i)
			continue
		}
		byOld[key] = len(groups)
		groups = append(groups, []int{i})
	}
	// The rules do not know a namespace's labels, and suppose that this one allows what some kinds ask of it.
	if err := s.merge(ctx, "/api/v1/namespaces/default", `{"metadata":{"labels":{"resource.kubernetes.io/admin-access":"true"}}}`); err != nil {
		return nil, err
	}
	remove, err := s.install(ctx, crds)
	defer remove()
	if err != nil {
		return nil, err
	}
	// Creations first: what an update replaces is really there, and would make a creation fail.
	slices.SortStableFunc(groups, func(a, b []int) int {
		return boolInt(cases[a[0]].Old != nil) - boolInt(cases[b[0]].Old != nil)
	})
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b int) int { return strings.Compare(cases[a].Base, cases[b].Base) })
	}
	const workers = 8
	work := make(chan []int)
	errs := make(chan error, workers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range workers {
		go func() {
			var err error
			for group := range work {
				if err == nil {
					if err = s.askGroup(ctx, cases, answers, group); err != nil {
						cancel()
					}
				}
			}
			errs <- err
		}()
	}
	for _, group := range groups {
		work <- group
	}
	close(work)
	var all error
	for range workers {
		all = errors.Join(all, <-errs)
	}
	return answers, all
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Server) askGroup(ctx context.Context, cases []Case, answers []Answer, group []int) error {
	if cases[group[0]].Old == nil {
		i := group[0]
		answer, err := s.create(ctx, cases[i])
		if err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
		answers[i] = answer
		return nil
	}
	for len(group) > 0 {
		n := 1
		for n < len(group) && cases[group[n]].Base == cases[group[0]].Base {
			n++
		}
		if err := s.askUpdates(ctx, cases, answers, group[:n]); err != nil {
			return err
		}
		group = group[n:]
	}
	return nil
}

// askUpdates asks of updates of one object, which is there as long.
func (s *Server) askUpdates(ctx context.Context, cases []Case, answers []Answer, group []int) error {
	old := cases[group[0]].Old
	path, err := s.path(ctx, old, true)
	if err != nil {
		return err
	}
	status, body, err := s.send(ctx, http.MethodPatch, path+"?force=true&fieldManager="+manager, withAccount(old))
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s: write the object before the update: %d %s", cases[group[0]].Base, status, body)
	}
	defer s.delete(ctx, path)
	if old["kind"] == "CustomResourceDefinition" {
		if err := s.established(ctx, path); err != nil {
			return err
		}
	}
	if old["kind"] == "PersistentVolumeClaim" {
		// No controller binds it here; in a cluster one soon does, and only then may it grow.
		storage, err := json.Marshal(storageOf(old))
		if err != nil {
			return err
		}
		if err := s.merge(ctx, path+"/status", `{"status":{"phase":"Bound","capacity":{"storage":`+string(storage)+`}}}`); err != nil {
			return err
		}
	}
	for _, i := range group {
		at, err := s.path(ctx, cases[i].Object, true) // may be of another version
		if err != nil {
			return err
		}
		status, body, err := s.send(ctx, http.MethodPatch, at+"?force=true&dryRun=All&fieldValidation=Strict&fieldManager="+manager, withAccount(cases[i].Object))
		if err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
		if status/100 == 2 {
			answers[i] = Answer{Status: Taken}
		} else if answers[i], err = refusal(body); err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
	}
	return nil
}

func (s *Server) create(ctx context.Context, c Case) (Answer, error) {
	path, err := s.path(ctx, c.Object, false)
	if err != nil {
		return Answer{}, err
	}
	status, body, err := s.send(ctx, http.MethodPost, path+"?dryRun=All&fieldValidation=Strict&fieldManager="+manager, withAccount(c.Object))
	if err != nil {
		return Answer{}, err
	}
	if status/100 != 2 {
		return refusal(body)
	}
	stored, err := decodeJSON(body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: Taken, Stored: Difference(c.Object, Settle(c.Object, stored))}, nil
}

// send speaks JSON; a PATCH is a server-side apply.
func (s *Server) send(ctx context.Context, method, path string, object map[string]any) (status int, body []byte, err error) {
	text, err := json.Marshal(object)
	if err != nil {
		return 0, nil, err
	}
	for range 5 {
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
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
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

var (
	strictError = regexp.MustCompile(`unknown field "((?:[^"\\]|\\.)*)"`)
	claimVolume = regexp.MustCompile(`spec\.template\.spec\.volumes\[\d+\]`)
	typeError   = regexp.MustCompile(`json: cannot unmarshal .+ into Go struct field [^. ]*\.(\S+) of type`)
)

// refusal reads an API server's Status.
func refusal(body []byte) (Answer, error) {
	var status struct {
		Kind, Reason, Message string
		Details               struct {
			Causes []struct{ Reason, Field, Message string }
		}
	}
	if err := json.Unmarshal(body, &status); err != nil || status.Kind != "Status" {
		// A path that nothing serves is answered in plain text.
		if strings.Contains(string(body), "404 page not found") {
			return Answer{Status: "NotFound"}, nil
		}
		return Answer{}, fmt.Errorf("answer of the API server is no Status: %s", body)
	}
	a := Answer{Status: status.Reason}
	for _, c := range status.Details.Causes {
		if strings.Contains(c.Message, "some validation rules were not checked") {
			continue // says that there may be more causes, and is none
		}
		a.Causes = append(a.Causes, strings.TrimSpace(c.Reason+" "+strings.TrimPrefix(c.Field, ".")))
	}
	if len(a.Causes) == 0 {
		for _, m := range strictError.FindAllStringSubmatch(status.Message, -1) {
			a.Causes = append(a.Causes, "UnknownField "+m[1])
		}
		if m := typeError.FindStringSubmatch(status.Message); m != nil {
			a.Causes = append(a.Causes, "Type "+m[1])
		}
	}
	if status.Reason == Crashed {
		return a, nil
	}
	if strings.HasPrefix(status.Message, "failed to create typed patch object") {
		a.Status = Unmerged
		return a, nil
	}
	if status.Reason == "" || status.Reason == "InternalError" {
		a.Status = "InternalError"
		a.Causes = []string{strings.ReplaceAll(status.Message, "\n", " ")}
	}
	for i, c := range a.Causes {
		// A StatefulSet's claims become volumes in an order that the API server draws.
		a.Causes[i] = claimVolume.ReplaceAllString(c, "spec.template.spec.volumes[*]")
	}
	slices.Sort(a.Causes)
	a.Causes = slices.Compact(a.Causes)
	return a, nil
}

// withAccount names the service account of a Pod that names none, as the admission plugin ServiceAccount does.
func withAccount(object map[string]any) map[string]any {
	spec, ok := object["spec"].(map[string]any)
	if object["apiVersion"] != "v1" || object["kind"] != "Pod" || !ok {
		return object
	}
	for _, key := range []string{"serviceAccountName", "serviceAccount"} {
		if v, written := spec[key]; written && v != "" && v != nil {
			return object
		}
	}
	out := clone(object).(map[string]any)
	out["spec"].(map[string]any)["serviceAccountName"] = "default"
	return out
}
