package argocd

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/gobwas/glob"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// Bounds of a folder of manifests. The repo server's is 10 MB by default.
const (
	maxDirectoryBytes = 32 << 20
	maxDirectoryFiles = 20_000
	maxFolders        = 100 // levels
)

// skipMarker in a file keeps it from being applied.
const skipMarker = "+argocd:skip-file-rendering"

var manifestName = regexp.MustCompile(`^.*\.(yaml|yml|json|jsonnet)$`)

// directory reads plain manifests (argo-cd, reposerver/repository, findManifests).
func (r *renderer) directory(folder string) ([]Object, error) {
	d := &directory{renderer: r, root: folder}
	if r.source.Directory != nil {
		d.options = *r.source.Directory
	}
	if err := d.walk("", 0); err != nil {
		return nil, r.at(nil, err)
	}
	return d.objects, nil
}

type directory struct {
	*renderer
	root    string
	options DirectorySource
	objects []Object
	files   int
	bytes   int
}

// matches is Argo CD's glob: * also matches a slash, {a,b} is one of both, and a pattern that is none matches nothing.
func matches(pattern, text string) bool {
	g, err := glob.Compile(pattern)
	return err == nil && g.Match(text)
}

func (d *directory) walk(folder string, level int) error {
	if level > maxFolders {
		return policies.ErrorAt(policies.Position{File: path.Join(d.root, folder)}, fmt.Errorf("folders are more than %d levels deep", maxFolders))
	}
	entries, err := d.view.ReadDir(d.ctx, path.Join(d.root, folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(folder, e.Name)
		at := path.Join(d.root, name)
		if e.Folder {
			if real, err := d.view.Real(d.ctx, at); d.options.Recurse && err == nil && real == at { // a link to a folder is not followed
				if err := d.walk(name, level+1); err != nil {
					return err
				}
			}
			continue
		}
		if !manifestName.MatchString(e.Name) {
			continue
		}
		if e.Broken != nil {
			if errors.Is(e.Broken, tree.ErrOutside) || errors.Is(e.Broken, tree.ErrLinks) {
				return policies.ErrorAt(policies.Position{File: at}, e.Broken)
			}
			continue // Argo CD leaves out a link to nothing
		}
		if d.options.Exclude != "" && matches(d.options.Exclude, name) || d.options.Include != "" && !matches(d.options.Include, name) {
			continue
		}
		if err := d.file(at); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) file(at string) error {
	text, err := d.view.ReadFile(d.ctx, at)
	if err != nil {
		return policies.ErrorAt(policies.Position{File: at}, err)
	}
	if d.files++; d.files > maxDirectoryFiles {
		return fmt.Errorf("folder %s has more than %d manifests", d.root, maxDirectoryFiles)
	}
	if d.bytes += len(text); d.bytes > maxDirectoryBytes {
		return fmt.Errorf("folder %s has manifests of more than %d bytes", d.root, maxDirectoryBytes)
	}
	if bytes.Contains(text, []byte(skipMarker)) {
		return nil
	}
	if strings.HasSuffix(at, ".jsonnet") {
		return policies.ErrorAt(policies.Position{File: at}, &kustomize.OpaqueError{What: "jsonnet " + at, Reason: "it is a program that Argo CD runs"})
	}
	objects, problems := manifest.Decode(at, text, manifest.DefaultLimits())
	for _, p := range problems {
		switch {
		case p.Rule == manifest.RuleDuplicateKey: // the last one counts
		case !strings.HasSuffix(at, ".json") && len(objects) == 0 && !looksLikeManifest(text):
			return nil // Argo CD takes it for a file of something else
		default:
			return policies.ErrorAt(p.Pos, errors.New(p.Message))
		}
	}
	for _, o := range objects {
		d.objects = append(d.objects, Object{Content: o.Map(), Origin: o.Origin, Source: written{o}})
	}
	return nil
}

func looksLikeManifest(text []byte) bool {
	return bytes.Contains(text, []byte("apiVersion:")) && bytes.Contains(text, []byte("kind:")) && bytes.Contains(text, []byte("metadata:"))
}

// written finds fields in the manifest that an object was read from.
type written struct{ object *policies.Object }

// Locate is policies.Source.
func (w written) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	return w.object.Locate(p, at), len(p)
}
