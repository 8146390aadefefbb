package world

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/controlplane"
)

// FakeSources is a stand-in for Flux's source-controller, whose module does not resolve. Under its identity it does what the gate can
// see of it: it fetches the branch of every GitRepository, serves the commit's files as a tarball over loopback HTTP, and writes
// status.artifact. It does so when told to (Fetch) and not by itself, so that tests know when; it verifies no signature, and knows no
// interval, secret or ignore rule.
type FakeSources struct {
	dir    string
	server *httptest.Server
	in     dynamic.NamespaceableResourceInterface
	one    sync.Mutex // one fetch at a time
}

func (w *World) newFakeSources() (*FakeSources, error) {
	config := w.Config("system:serviceaccount:"+FluxNamespace+":source-controller", controlplane.ServiceAccountGroups(FluxNamespace)...)
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	s := &FakeSources{dir: w.t.TempDir(), in: c.Resource(kind(repositoryKind).GroupVersion().WithResource("gitrepositories"))}
	s.server = httptest.NewServer(http.FileServer(http.Dir(s.dir)))
	w.t.Cleanup(s.server.Close)
	return s, nil
}

// Fetch fetches every GitRepository of the cluster. It tells of the first that could not be fetched, behind the others.
func (s *FakeSources) Fetch(ctx context.Context) error {
	s.one.Lock()
	defer s.one.Unlock()
	all, err := s.in.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var first error
	for i := range all.Items {
		if err := s.fetch(ctx, &all.Items[i]); err != nil && first == nil {
			first = fmt.Errorf("GitRepository %s/%s: %w", all.Items[i].GetNamespace(), all.Items[i].GetName(), err)
		}
	}
	return first
}

// checkout writes the files of the artifact of a GitRepository into a folder of their own.
func (s *FakeSources) checkout(ctx context.Context, namespace, name string) (string, error) {
	s.one.Lock()
	defer s.one.Unlock()
	o, err := s.in.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	url, _, _ := unstructured.NestedString(o.Object, "spec", "url")
	revision, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
	_, commit, ok := strings.Cut(revision, "sha1:")
	if !ok {
		return "", fmt.Errorf("GitRepository %s/%s has no artifact", namespace, name)
	}
	folder, err := os.MkdirTemp(s.dir, "files-")
	if err != nil {
		return "", err
	}
	_, err = s.git(ctx, "--git-dir="+s.repository(url), "--work-tree="+folder, "checkout", "--quiet", "--force", commit, "--", ".")
	return folder, err
}

// repository is the folder of the copy of a repository.
func (s *FakeSources) repository(url string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%x.git", sha256.Sum256([]byte(url)))[:20])
}

func (s *FakeSources) fetch(ctx context.Context, o *unstructured.Unstructured) error {
	url, _, _ := unstructured.NestedString(o.Object, "spec", "url")
	branch, _, _ := unstructured.NestedString(o.Object, "spec", "ref", "branch")
	if branch == "" {
		branch = "master"
	}
	repo := s.repository(url)
	if _, err := os.Stat(repo); err != nil {
		if _, err := s.git(ctx, "init", "--quiet", "--bare", repo); err != nil {
			return err
		}
	}
	if _, err := s.git(ctx, "--git-dir="+repo, "fetch", "--quiet", "--depth=1", url, "+refs/heads/"+branch+":refs/heads/"+branch); err != nil {
		return err
	}
	out, err := s.git(ctx, "--git-dir="+repo, "rev-parse", "refs/heads/"+branch)
	if err != nil {
		return err
	}
	commit := strings.TrimSpace(string(out))
	revision := branch + "@sha1:" + commit
	if now, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision"); now == revision {
		return nil
	}
	tarball, err := s.git(ctx, "--git-dir="+repo, "archive", "--format=tar.gz", commit)
	if err != nil {
		return err
	}
	path := fmt.Sprintf("%s-%s-%s.tar.gz", o.GetNamespace(), o.GetName(), commit)
	if err := os.WriteFile(filepath.Join(s.dir, path), tarball, 0o600); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": o.GetGeneration(),
		"artifact": map[string]any{
			"digest": fmt.Sprintf("sha256:%x", sha256.Sum256(tarball)), "lastUpdateTime": now, "path": path, "revision": revision,
			"size": len(tarball), "url": s.server.URL + "/" + path,
		},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact for revision '" + revision + "'",
			"observedGeneration": o.GetGeneration(), "lastTransitionTime": now,
		}},
	}})
	if err != nil {
		return err
	}
	_, err = s.in.Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "source-controller"}, "status")
	return err
}

func (s *FakeSources) git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out, nil
}
