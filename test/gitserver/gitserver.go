// Package gitserver makes Git repositories for tests and serves them over HTTP by the git program's own http-backend. It knows
// nothing of gitgate.
package gitserver

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// T is what is wanted of a test: a testing.TB is one.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
	Cleanup(func())
}

// Repo is a repository with a work tree.
type Repo struct {
	Dir string
	t   T
}

// NewRepo makes an empty repository whose branch is main and whose commits are made by Test Author.
func NewRepo(t T) *Repo {
	t.Helper()
	r := &Repo{Dir: t.TempDir(), t: t}
	r.Git("init", "--quiet", "--initial-branch=main")
	r.Git("config", "user.name", "Test Author")
	r.Git("config", "user.email", "author@example.com")
	r.Git("config", "commit.gpgSign", "false")
	r.Git("config", "http.receivepack", "true")
	r.Git("config", "uploadpack.allowAnySHA1InWant", "true")
	r.Git("config", "receive.denyCurrentBranch", "ignore")
	return r
}

// For is the same repository, whose methods end another test.
func (r *Repo) For(t T) *Repo { return &Repo{Dir: r.Dir, t: t} }

// Git runs git in the work tree and returns what it prints, without the last newline.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Write writes files below the work tree; an empty content deletes the file.
func (r *Repo) Write(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		path := filepath.Join(r.Dir, filepath.FromSlash(name))
		if content == "" {
			if err := os.Remove(path); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// Commit writes files, commits everything and returns the commit's full hash. More arguments go to git commit.
func (r *Repo) Commit(message string, files map[string]string, args ...string) string {
	r.t.Helper()
	r.Write(files)
	r.Git("add", "--all")
	r.Git(append([]string{"commit", "--quiet", "--allow-empty", "-m", message}, args...)...)
	return r.Git("rev-parse", "HEAD")
}

// Server serves repositories over HTTP.
type Server struct {
	URL string
	// Down makes every request fail with 503, as a Git host that is ill does.
	Down atomic.Bool
	// Password, when set, is wanted from the user "git" by basic authentication.
	Password atomic.Value
}

// Serve serves r at URL + "/repo" until the test ends.
func Serve(t T, r *Repo) *Server {
	t.Helper()
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	backend := &cgi.Handler{
		Path: program, Args: []string{"http-backend"}, Root: "/repo", Dir: r.Dir,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(r.Dir, ".git"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.Down.Load() {
			http.Error(w, "maintenance", http.StatusServiceUnavailable)
			return
		}
		if want, _ := s.Password.Load().(string); want != "" {
			if user, password, ok := req.BasicAuth(); !ok || user != "git" || password != want {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, "credentials wanted", http.StatusUnauthorized)
				return
			}
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL + "/repo"
	return s
}
