package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImportsKeepTheHouseRules(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	g := &graph{imports: map[string][]string{}, standard: map[string]bool{}, own: map[string]bool{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Standard   bool
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, own := short(p.ImportPath)
		g.standard[name], g.own[name] = p.Standard, own
		if !own {
			delete(g.own, name)
		}
		for _, q := range p.Imports {
			q, _ := short(q)
			g.imports[name] = append(g.imports[name], q)
		}
	}
	if !g.own["policies"] || len(g.imports["policies"]) == 0 {
		t.Fatal("go list did not show the package policies: the test would hold nothing")
	}
	for _, v := range violations(g) {
		t.Error(v)
	}
}

func short(path string) (name string, own bool) {
	if path == module {
		return ".", true
	}
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return rest, true
	}
	return path, false
}

// The rules themselves, asked of graphs that break one of them each.
func TestARuleThatIsBrokenIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		edges string // from>to, separated by blanks; standard library packages are in lower case without a dot
		want  string
	}{
		{"the way it should be", "cmd/gitgate>validate cmd/gitgate>policies/rego cmd/gitgate>report validate>policies policies/rego>policies policies/rego>github.com/open-policy-agent/opa/v1/rego policies>time", ""},
		{"policies with a library", "policies>github.com/x/y", "policies -> github.com/x/y: policies imports the standard library"},
		{"policies with a YAML decoder", "policies>sigs.k8s.io/yaml", ""},
		{"a kind that imports a kind", "policies/cel>policies/rego", "policies/cel -> policies/rego: a kind of policy never imports another kind"},
		{"a folder of a kind", "policies/rego/lib>policies/rego", ""},
		{"a kind that imports a door", "policies/cel>validate", "a kind of policy never imports a door"},
		{"a kind that imports report through another", "policies/cel>manifest2 manifest2>report", "policies/cel -> manifest2 -> report: a kind of policy never imports report"},
		{"a kind that imports bundle", "policies/cel>policies/bundle", "a kind of policy never imports bundle"},
		{"a door that imports a kind", "webhook>policies/cel", "a door never imports a kind of policy"},
		{"a door that imports a door", "webhook>validate", "a door never imports another door"},
		{"a door that imports report", "audit>report", "a door never imports report"},
		{"report that imports bundle", "report>policies/bundle", "report imports neither"},
		{"bundle that imports a kind", "policies/bundle>policies/rego", "bundle imports neither"},
		{"library that imports a kind", "policies/library>policies/rego", "library imports policies and nothing else"},
		{"cluster that imports a kind", "cluster>policies/trace", "cluster imports policies and nothing else"},
		{"document that imports a door", "document>validate", "document imports manifest, policies and nothing else"},
		{"manifest that imports apiserver", "manifest>apiserver", "manifest imports policies and nothing else"},
		{"OPA in the wrong place", "policies/cel>github.com/open-policy-agent/opa/ast", "OPA is imported only under policies/opa"},
		{"Kyverno in the wrong place", "policies/cel>github.com/kyverno/api", "Kyverno is imported only under"},
		{"sigstore in the wrong place", "webhook>github.com/sigstore/sigstore-go/pkg/verify", "sigstore and registries"},
		{"Git in the wrong place", "validate>github.com/go-git/go-git/v5", "Git is imported only under desired"},
		{"k8s.io/kubernetes in the wrong place", "policies/schema>k8s.io/kubernetes/pkg/apis/core", "k8s.io/kubernetes is imported only under apiserver"},
		{"apiserver used by a door", "validate>apiserver", "apiserver is imported only by"},
		{"apiserver used by schema", "policies/schema>apiserver", ""},
		{"flags in a library", "validate>flag", "flags are read only under cmd"},
		{"something that imports cmd", "validate>cmd/gitgate", "nothing imports cmd"},
		{"something that imports test", "report>test/gen", "the product never imports test"},
		{"a test that imports all", "test/parity>validate test/parity>policies/rego test/parity>flag", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := &graph{imports: map[string][]string{}, standard: map[string]bool{}, own: map[string]bool{}}
			for _, edge := range strings.Fields(c.edges) {
				from, to, _ := strings.Cut(edge, ">")
				g.imports[from] = append(g.imports[from], to)
				for _, p := range []string{from, to} {
					switch first, _, _ := strings.Cut(p, "/"); {
					case p == "time" || p == "flag":
						g.standard[p] = true
					case !strings.Contains(first, "."):
						g.own[p] = true
					}
				}
			}
			got := strings.Join(violations(g), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
}

func TestTheModuleHasNoReplace(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "replace" || word == "exclude" {
			t.Errorf("go.mod:%d: %s found, expected none: with it `go install` of a version does not work", i+1, word)
		}
	}
}
