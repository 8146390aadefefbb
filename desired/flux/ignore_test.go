package flux_test

import (
	"slices"
	"testing"

	"gitgate.dev/gitgate/desired/flux"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/test/gitserver"
)

func TestWhatTheArtifactLeavesOutIsHidden(t *testing.T) {
	files := map[string]string{
		"a.yaml": "1", ".sops.yaml": "1", "apps/.sops.yaml": "1", ".github/x.yaml": "1", "apps/web.yaml": "1", "apps/docs/x.yaml": "1", "apps/docs/keep.yaml": "1", "cloudbuild.yaml": "1",
	}
	for _, tc := range []struct {
		name, file, spec string
		want             []string
	}{
		{"by default the files of CI and tools", "", "", []string{"a.yaml", "apps/docs/keep.yaml", "apps/docs/x.yaml", "apps/web.yaml"}},
		{"what a file names, and then nothing by default", "/apps/docs/*\n!keep.yaml\n# comment\n", "", []string{".github/x.yaml", ".sops.yaml", ".sourceignore", "a.yaml", "apps/.sops.yaml", "apps/docs/keep.yaml", "apps/web.yaml", "cloudbuild.yaml"}},
		{"everything but one folder", "", "/*\n!/apps\n", []string{"apps/.sops.yaml", "apps/docs/keep.yaml", "apps/docs/x.yaml", "apps/web.yaml"}},
		{"a folder by its name", "", "docs/\n", []string{".github/x.yaml", ".sops.yaml", "a.yaml", "apps/.sops.yaml", "apps/web.yaml", "cloudbuild.yaml"}},
		{"at any depth", "", "apps/**/x.yaml\n", []string{".github/x.yaml", ".sops.yaml", "a.yaml", "apps/.sops.yaml", "apps/docs/keep.yaml", "apps/web.yaml", "cloudbuild.yaml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := gitserver.NewRepo(t)
			r.Write(files)
			if tc.file != "" {
				r.Write(map[string]string{".sourceignore": tc.file})
			}
			head := r.Commit("files", nil)
			repo, _, err := git.Open(t.Context(), r.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer repo.Close()
			all, err := tree.Load(t.Context(), repo, git.Hash(head))
			if err != nil {
				t.Fatal(err)
			}
			spec := map[string]any{}
			if tc.spec != "" {
				spec["ignore"] = tc.spec
			}
			v := all.View()
			flux.Ignore(t.Context(), v, policies.NewObject(map[string]any{"spec": spec}, policies.Origin{}, nil, nil))
			got, err := v.Files(t.Context(), "")
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("files %q, %v; want %q", got, err, tc.want)
			}
			for name := range files {
				if v.Exists(t.Context(), name) != slices.Contains(tc.want, name) {
					t.Errorf("%s is seen when it should not, or the other way round", name)
				}
			}
		})
	}
}
