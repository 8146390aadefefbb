package e2e

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/world"
)

const image = "registry.example.com/shop/web:1.0.0"

// scene is a unit of the fleet with a namespace of its own.
type scene struct {
	*world.World
	t    *testing.T
	name string // of the unit and of the namespace
}

// newScene begins a scene. Its unit goes with the next commit after it has ended.
func newScene(t *testing.T, w *world.World, name string) *scene {
	t.Helper()
	s := &scene{World: w.For(t), t: t, name: name}
	t.Cleanup(func() { s.Repo.Git("rm", "-rqf", "--ignore-unmatch", "--", s.unitFile(), "apps/"+name) })
	return s
}

func (s *scene) unitFile() string { return "clusters/prod/" + s.name + ".yaml" }

// push commits files of the scene's folder, with its unit and its namespace beside them, and returns the commit.
func (s *scene) push(message string, files map[string]string) string {
	s.t.Helper()
	return s.Push(message, s.files(files))
}

func (s *scene) files(files map[string]string) map[string]string {
	all := map[string]string{
		s.unitFile():                          world.Unit(s.name, "apps/"+s.name),
		"apps/" + s.name + "/_namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + s.name + "}\n",
	}
	for name, text := range files {
		all["apps/"+s.name+"/"+name] = text
	}
	return all
}

// applied pushes and waits until all of it is applied.
func (s *scene) applied(message string, files map[string]string) string {
	s.t.Helper()
	commit := s.push(message, files)
	s.Applied(s.name, commit)
	return commit
}

// has wants a field of an object to become a value.
func (s *scene) has(of, name string, want any, path ...string) {
	s.t.Helper()
	s.Eventually(of+" "+name, func() error {
		if got := dig(s.Get(of, s.name, name), path...); got != want {
			return fmt.Errorf("%v is %v, want %v", path, got, want)
		}
		return nil
	})
}

// gone wants an object not to be there any more.
func (s *scene) gone(of, namespace, name string) {
	s.t.Helper()
	s.Eventually(of+" "+name+" stays", func() error {
		if o := s.Get(of, namespace, name); o != nil {
			return fmt.Errorf("deletionTimestamp %v, finalizers %v", o.GetDeletionTimestamp(), o.GetFinalizers())
		}
		return nil
	})
}

// dig is a field of an object; nil when there is none.
func dig(o *unstructured.Unstructured, path ...string) any {
	if o == nil {
		return nil
	}
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

// deployment has its replicas in line 7 and its image in line 16.
func deployment(namespace, name string, replicas int, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %s
  namespace: %s
spec:
  replicas: %d
  selector:
    matchLabels: {app: %s}
  template:
    metadata:
      labels: {app: %s}
    spec:
      containers:
        - name: web
          image: %s
          ports: [{containerPort: 8080}]
`, name, namespace, replicas, name, name, image)
}

// configMap has its value in line 6.
func configMap(namespace, name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\ndata: {%s: %s}\n", name, namespace, key, value)
}
