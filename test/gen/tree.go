package gen

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parts lists an app's manifests, those of a team with its first app and those of the cluster with every hundredth.
func (a *app) parts() []part {
	var parts []part
	add := func(folder string, templates ...string) {
		for _, t := range templates {
			kind := t
			if k, ok := kindOf[t]; ok {
				kind = k
			}
			parts = append(parts, part{kind: kind, template: t, file: a.file(folder, kind)})
		}
	}
	if a.Index%appsPerCluster == 0 {
		add("cluster", "PriorityClass", "StorageClass", "PersistentVolume")
	}
	if a.Index%appsPerTeam == 0 {
		add("team", "Namespace", "ResourceQuota", "LimitRange", "DefaultDeny", "TeamRole", "TeamRoleBinding")
	}
	add("app", "ServiceAccount", "ConfigMap")
	if a.Secret {
		add("app", "Secret")
	}
	switch a.Shape {
	case "web":
		add("app", "Deployment", "Service", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy")
		if a.Init {
			add("app", "Role", "RoleBinding")
		}
		if a.External {
			add("app", "EndpointSlice")
		}
	case "worker":
		add("app", "Deployment", "HorizontalPodAutoscaler", "PersistentVolumeClaim")
	case "stateful":
		add("app", "StatefulSet", "HeadlessService", "Service", "PodDisruptionBudget", "NetworkPolicy")
	case "batch":
		add("app", "CronJob", "Role", "RoleBinding")
		if a.Init {
			add("app", "Job")
		}
	case "agent":
		add("app", "DaemonSet", "ClusterRole", "ClusterRoleBinding")
	}
	if a.Debug {
		add("app", "Pod")
	}
	// Manifests of one file follow each other, files in the order of their first.
	first := map[string]int{}
	for i, p := range parts {
		if _, seen := first[p.file]; !seen {
			first[p.file] = i
		}
	}
	slices.SortStableFunc(parts, func(p, q part) int { return cmp.Compare(first[p.file], first[q.file]) })
	return parts
}

var kindOf = map[string]string{"DefaultDeny": "NetworkPolicy", "TeamRole": "Role", "TeamRoleBinding": "RoleBinding", "HeadlessService": "Service"}

// file says where a manifest lies. Teams differ in how they cut their files, so apps differ too: one file a kind, one file an
// app, or the access rights apart.
func (a *app) file(folder, kind string) string {
	team := "clusters/" + a.Env + "/" + strings.TrimSuffix(a.Namespace, "-"+a.Env) + "/"
	lower := strings.ToLower(kind)
	switch folder {
	case "cluster":
		return "clusters/shared/" + fmt.Sprintf("%04d.yaml", a.Index)
	case "team":
		return team + "namespace.yaml"
	}
	switch a.Index % 4 {
	case 0:
		return team + a.Name + ".yaml"
	case 1:
		if slices.Contains([]string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, kind) {
			return team + a.Name + "/rbac.yml"
		}
		return team + a.Name + "/app.yaml"
	default:
		return team + a.Name + "/" + lower + ".yaml"
	}
}

// Tree is what WriteTree wrote.
type Tree struct {
	Files, Manifests int
	Bytes            int64
	Kinds            map[string]int // manifests of each kind
}

// WriteTree writes n manifests below dir, which is made when it is not there, as a GitOps repository keeps them: a folder an
// environment and team, files of one and of several documents.
func WriteTree(dir string, n int) (Tree, error) {
	tree := Tree{Kinds: map[string]int{}}
	var path, text string
	flush := func() error {
		if path == "" {
			return nil
		}
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("generated tree: %w", err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return fmt.Errorf("generated tree: %w", err)
		}
		tree.Files++
		tree.Bytes += int64(len(text))
		return nil
	}
	for m := range Manifests(n) {
		tree.Manifests++
		tree.Kinds[m.Kind]++
		if m.Path == path {
			text += "---\n" + m.Text
			continue
		}
		if err := flush(); err != nil {
			return tree, err
		}
		path, text = m.Path, m.Text
	}
	return tree, flush()
}

// WriteFile writes n manifests as one multi-document YAML file.
func WriteFile(name string, n int) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("generated documents: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = WriteDocuments(w, n)
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
