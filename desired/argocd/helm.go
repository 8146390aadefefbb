package argocd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// helm renders a chart as `helm template` with the arguments that Argo CD gives it (argo-cd, reposerver/repository, helmTemplate).
func (r *renderer) helm(folder string) ([]Object, error) {
	o := HelmSource{}
	if r.source.Helm != nil {
		o = *r.source.Helm
	}
	values, written, err := r.values(folder, &o)
	if err != nil {
		return nil, err
	}
	chart, err := helm.Load(r.ctx, r.view, folder)
	if err != nil {
		return nil, err
	}
	release := helm.Release{
		Name: r.app.Metadata.Name, Namespace: r.app.Spec.Destination.Namespace, Values: values, Written: written, Cluster: r.config.Cluster,
		CRDs: !o.SkipCRDs, SkipTests: o.SkipTests, SkipSchema: o.SkipSchemaValidation,
	}
	if o.ReleaseName != "" {
		release.Name = o.ReleaseName
	}
	if o.Namespace != "" {
		release.Namespace = o.Namespace
	}
	if o.KubeVersion != "" {
		release.Cluster.Kubernetes = o.KubeVersion
	}
	if len(o.APIVersions) > 0 {
		release.Cluster.APIVersions = o.APIVersions
	}
	result, err := chart.Render(r.ctx, release)
	if err != nil {
		return nil, err
	}
	r.notes = append(r.notes, result.Opaque...)
	objects := make([]Object, len(result.Objects))
	for i, x := range result.Objects {
		objects[i] = Object{Content: x.Content, Origin: x.Origin, Source: x.Source, Opaque: x.Opaque}
	}
	return objects, nil
}

// values are those of the files, then those of the Application, then its parameters.
func (r *renderer) values(folder string, o *HelmSource) (merged map[string]any, written []helm.Written, err error) {
	merged = map[string]any{}
	for i, name := range o.ValueFiles {
		field := policies.Path{"helm", "valueFiles", i}
		view, paths, err := r.files(folder, name)
		if err != nil {
			return nil, nil, r.at(field, err)
		}
		for _, p := range paths {
			text, err := view.ReadFile(r.ctx, p)
			if errors.Is(err, fs.ErrNotExist) && o.IgnoreMissingValueFiles {
				continue
			}
			if err != nil {
				return nil, nil, r.at(field, fmt.Errorf("file of values: %w", err))
			}
			values, err := helm.ParseValues(text)
			if err != nil {
				return nil, nil, policies.ErrorAt(policies.Position{File: p}, err)
			}
			merged = helm.MergeValues(merged, values)
			written = append(written, helm.InFile(p, text, string(view.Commit())))
		}
	}
	own, field := []byte(o.Values), "values"
	said := helm.InText(r.app.object, r.field.Append("helm", "values"), o.Values)
	if o.ValuesObject != nil {
		said = helm.InObject(r.app.object, r.field.Append("helm", "valuesObject"))
		if own, err = yaml.Marshal(o.ValuesObject); err != nil {
			return nil, nil, r.at(policies.Path{"helm", "valuesObject"}, err)
		}
		field = "valuesObject"
	}
	values, err := helm.ParseValues(own)
	if err != nil {
		return nil, nil, r.at(policies.Path{"helm", field}, err)
	}
	merged, written = helm.MergeValues(merged, values), append(written, said)
	for i, p := range o.Parameters {
		written = append(written, helm.InParameter(r.app.object, r.field.Append("helm", "parameters", i, "value"), p.Name))
	}
	return merged, written, r.parameters(folder, o, merged)
}

// parameters sets values as --set, --set-string and --set-file do, in this order.
func (r *renderer) parameters(folder string, o *HelmSource, values map[string]any) error {
	if len(o.Parameters) > 5000 || len(o.FileParameters) > 500 {
		return r.at(policies.Path{"helm"}, errors.New("source has too many parameters"))
	}
	for _, asText := range []bool{false, true} {
		set := strvals.ParseInto
		if asText {
			set = strvals.ParseIntoString
		}
		for i, p := range o.Parameters {
			if p.ForceString != asText {
				continue
			}
			if err := set(p.Name+"="+escapeCommas(r.env(p.Value)), values); err != nil {
				return r.at(policies.Path{"helm", "parameters", i}, fmt.Errorf("parameter %s cannot be set: %w", p.Name, err))
			}
		}
	}
	for i, p := range o.FileParameters {
		field := policies.Path{"helm", "fileParameters", i}
		view, paths, err := r.files(folder, p.Path)
		if err != nil {
			return r.at(field, err)
		}
		if len(paths) != 1 {
			return r.at(field, fmt.Errorf("file %q: expected one file", p.Path))
		}
		text, err := view.ReadFile(r.ctx, paths[0])
		if err != nil {
			return r.at(field, err)
		}
		if err := strvals.ParseIntoFile(p.Name+"=file", values, func([]rune) (any, error) { return string(text), nil }); err != nil {
			return r.at(field, fmt.Errorf("parameter %s cannot be set: %w", p.Name, err))
		}
	}
	return nil
}

// escapeCommas keeps a value one: --set would take what follows a comma for another. A list in braces is meant as one.
func escapeCommas(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		if value[i] == ',' && (i == 0 || value[i-1] != '\\') {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// files finds the files that a name stands for: relative to the chart, absolute in the repository, or in the source that $REF
// names; with * several.
func (r *renderer) files(folder, name string) (*tree.View, []string, error) {
	view := r.view
	ref, rest, _ := strings.Cut(name, "/")
	if source := r.refs[ref]; source != nil {
		if source.Chart != "" {
			return nil, nil, fmt.Errorf("%s names a chart: expected a source of files", ref)
		}
		var err error
		if view, err = r.resolve(r.ctx, source.RepoURL, source.TargetRevision); err != nil {
			return nil, nil, err
		}
		name = "/" + rest
	}
	name = r.env(name)
	if strings.Contains(name, "://") {
		return nil, nil, &kustomize.OpaqueError{What: "values of " + name, Reason: "they come from another machine"}
	}
	at := path.Join(folder, name)
	if path.IsAbs(name) {
		at = strings.TrimPrefix(path.Clean(name), "/")
	}
	if at == ".." || strings.HasPrefix(at, "../") {
		return nil, nil, fmt.Errorf("file %q leads out of the repository", name)
	}
	if !strings.ContainsAny(at, "*?[{") {
		return view, []string{at}, nil
	}
	g, err := glob.Compile(at, '/')
	if err != nil {
		return nil, nil, fmt.Errorf("pattern %q: %w", name, err)
	}
	base := at[:strings.IndexAny(at, "*?[{")]
	all, err := view.Files(r.ctx, path.Dir(base+"x"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	found := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return !g.Match(p) })
	return view, found, nil
}
