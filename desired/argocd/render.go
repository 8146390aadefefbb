package argocd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// inCluster are the address and the name by which Argo CD knows the cluster that it runs in.
var inCluster = []string{"https://kubernetes.default.svc", "in-cluster"}

// Render gives the objects that Argo CD applies for a. A *kustomize.OpaqueError says that they cannot be told from revisions
// alone; notes name what of them cannot, a source of several for example.
func (a *Application) Render(ctx context.Context, resolve Resolve, config Config) (objects []Object, notes []*kustomize.OpaqueError, err error) {
	spec := &a.Spec
	if spec.Hydrator != nil {
		return nil, nil, a.at(policies.Path{"spec", "sourceHydrator"}, &kustomize.OpaqueError{What: "Application " + a.Metadata.Name, Reason: "it applies what a source hydrator commits to another branch"})
	}
	if d := spec.Destination; !a.here(config) {
		return nil, nil, a.at(policies.Path{"spec", "destination"}, &kustomize.OpaqueError{What: "Application " + a.Metadata.Name, Reason: fmt.Sprintf("it is applied to another cluster, %q", d.Server+d.Name)})
	}
	sources, field := spec.Sources, policies.Path{"spec", "sources"}
	if len(sources) == 0 {
		sources, field = []Source{*spec.Source}, nil
	}
	refs := map[string]*Source{}
	for i, s := range sources {
		if s.Ref != "" {
			refs["$"+s.Ref] = &sources[i]
		}
	}
	for i, s := range sources {
		at := policies.Path{"spec", "source"}
		if field != nil {
			at = field.Append(i)
		}
		if s.Ref != "" && s.Path == "" && s.Chart == "" {
			continue // it is there for its files of values
		}
		r := &renderer{app: a, ctx: ctx, resolve: resolve, config: config, refs: refs, source: s, field: at}
		made, err := r.render()
		var opaque *kustomize.OpaqueError
		if errors.As(err, &opaque) && field != nil {
			notes = append(notes, opaque)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range made {
			made[i].Origin.Commit = string(r.view.Commit())
		}
		objects, notes = append(objects, made...), append(notes, r.notes...)
	}
	return a.mark(objects, config), notes, nil
}

// here says whether a is applied to the cluster that Argo CD runs in.
func (a *Application) here(config Config) bool {
	d := a.Spec.Destination
	if d.Server == "" && d.Name == "" {
		return true // Argo CD would refuse it; whoever reads it says so
	}
	for _, known := range append(slices.Clone(inCluster), config.Servers...) {
		if known == d.Server || known == d.Name {
			return true
		}
	}
	return false
}

// InstanceName is how Argo CD names a in its marks: with its namespace when that is not Argo CD's own.
func (a *Application) InstanceName(config Config) string {
	own := config.Namespace
	if own == "" {
		own = "argocd"
	}
	if ns := a.Metadata.Namespace; ns != "" && ns != own {
		return ns + "_" + a.Metadata.Name
	}
	return a.Metadata.Name
}

// renderer renders one source of an Application.
type renderer struct {
	app     *Application
	ctx     context.Context
	resolve Resolve
	config  Config
	refs    map[string]*Source
	source  Source
	field   policies.Path // of the source
	view    *tree.View
	notes   []*kustomize.OpaqueError
}

func (r *renderer) at(field policies.Path, err error) error {
	var placed *policies.PositionError
	if errors.As(err, &placed) {
		return err
	}
	return r.app.at(r.field.Append(field...), err)
}

func (r *renderer) render() ([]Object, error) {
	s := &r.source
	switch {
	case strings.HasPrefix(s.RepoURL, "oci://"):
		return nil, r.at(policies.Path{"repoURL"}, &kustomize.OpaqueError{What: "source " + s.RepoURL, Reason: "it comes from a registry, not from Git"})
	case s.Chart != "":
		return nil, r.at(policies.Path{"chart"}, &kustomize.OpaqueError{What: fmt.Sprintf("chart %s of %s", s.Chart, s.RepoURL), Reason: "it comes from a chart repository, not from Git"})
	case s.Path == "":
		return nil, r.at(nil, errors.New("source has no path: expected one in the repository"))
	}
	var err error
	if r.view, err = r.resolve(r.ctx, s.RepoURL, s.TargetRevision); err != nil {
		return nil, r.at(policies.Path{"repoURL"}, err)
	}
	if strings.HasPrefix(s.Path, "/") {
		return nil, r.at(policies.Path{"path"}, fmt.Errorf("path %q is absolute: expected one relative to the repository's root", s.Path))
	}
	folder, err := r.view.Real(r.ctx, s.Path)
	if err != nil {
		return nil, r.at(policies.Path{"path"}, fmt.Errorf("path %q is not in the repository: %w", s.Path, err))
	}
	if !r.view.IsDir(r.ctx, folder) {
		return nil, r.at(policies.Path{"path"}, fmt.Errorf("path %q is no folder", s.Path))
	}
	if err := r.override(folder); err != nil {
		return nil, err
	}
	tool, err := r.tool(folder)
	if err != nil {
		return nil, r.at(nil, err)
	}
	switch tool {
	case "helm":
		return r.helm(folder)
	case "kustomize":
		return r.kustomize(folder)
	case "plugin":
		return nil, r.at(policies.Path{"plugin"}, &kustomize.OpaqueError{What: "plugin of Application " + r.app.Metadata.Name, Reason: "it is a program of the repo server"})
	}
	return r.directory(folder)
}

// tool is the tool that is named, or the one that a folder's files show (argo-cd, util/app/discovery).
func (r *renderer) tool(folder string) (string, error) {
	s := &r.source
	var named []string
	for name, set := range map[string]bool{"helm": s.Helm != nil, "kustomize": s.Kustomize != nil, "directory": s.Directory != nil, "plugin": len(s.Plugin) > 0 && string(s.Plugin) != "null"} {
		if set {
			named = append(named, name)
		}
	}
	slices.Sort(named)
	switch len(named) {
	case 0:
	case 1:
		return named[0], nil
	default:
		return "", fmt.Errorf("source names %s: expected one tool", strings.Join(named, " and "))
	}
	entries, err := r.view.ReadDir(r.ctx, folder)
	if err != nil {
		return "", err
	}
	tool := "directory"
	for _, e := range entries { // by name: a kustomization beside a chart wins
		switch {
		case e.Folder || e.Broken != nil:
		case e.Name == "Chart.yaml":
			tool = "helm"
		case e.Name == "kustomization.yaml", e.Name == "kustomization.yml", e.Name == "Kustomization":
			tool = "kustomize"
		}
	}
	return tool, nil
}

// env substitutes the variables of the build environment.
func (r *renderer) env(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	commit := string(r.view.Commit())
	values := map[string]string{
		"$":                                 "$",
		"ARGOCD_APP_NAME":                   r.app.InstanceName(r.config),
		"ARGOCD_APP_NAMESPACE":              r.app.Spec.Destination.Namespace,
		"ARGOCD_APP_PROJECT_NAME":           r.app.Spec.Project,
		"ARGOCD_APP_REVISION":               commit,
		"ARGOCD_APP_REVISION_SHORT":         commit[:min(7, len(commit))],
		"ARGOCD_APP_REVISION_SHORT_8":       commit[:min(8, len(commit))],
		"ARGOCD_APP_SOURCE_REPO_URL":        r.source.RepoURL,
		"ARGOCD_APP_SOURCE_PATH":            r.source.Path,
		"ARGOCD_APP_SOURCE_TARGET_REVISION": r.source.TargetRevision,
	}
	return os.Expand(text, func(name string) string { return values[name] })
}
