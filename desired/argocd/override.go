package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
)

// override merges .argocd-source.yaml and .argocd-source-NAME.yaml of the folder into the source: they say how the tool is
// called, never where the source is.
func (r *renderer) override(folder string) error {
	for _, name := range []string{".argocd-source.yaml", ".argocd-source-" + r.app.InstanceName(r.config) + ".yaml"} {
		file := path.Join(folder, name)
		text, err := r.view.ReadFile(r.ctx, file)
		if errors.Is(err, fs.ErrNotExist) || err != nil && r.view.IsDir(r.ctx, file) {
			continue
		}
		if err != nil {
			return policies.ErrorAt(policies.Position{File: file}, err)
		}
		if err := r.source.merge(text); err != nil {
			return policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("overrides of the source cannot be used: %w", err))
		}
	}
	return nil
}

func (s *Source) merge(text []byte) error {
	var patch map[string]any
	if err := yaml.Unmarshal(text, &patch); err != nil {
		return err
	}
	written, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var whole map[string]any
	if err := json.Unmarshal(written, &whole); err != nil {
		return err
	}
	merged, err := json.Marshal(mergePatch(whole, patch))
	if err != nil {
		return err
	}
	next := Source{}
	if err := json.Unmarshal(merged, &next); err != nil {
		return err
	}
	next.Chart, next.Path, next.RepoURL, next.TargetRevision, next.Ref = s.Chart, s.Path, s.RepoURL, s.TargetRevision, s.Ref
	*s = next
	return nil
}

// mergePatch is JSON Merge Patch (RFC 7386).
func mergePatch(to map[string]any, patch map[string]any) map[string]any {
	if to == nil {
		to = map[string]any{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(to, key)
		case map[string]any:
			under, _ := to[key].(map[string]any)
			to[key] = mergePatch(under, value)
		default:
			to[key] = value
		}
	}
	return to
}
