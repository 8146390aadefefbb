package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Bounds of a chart with all charts that it holds. Helm's own are 100 MiB and 5 MiB, and none for the rest.
const (
	maxChartBytes   = 32 << 20
	maxChartFile    = 5 << 20
	maxChartFiles   = 10_000
	maxChartFolders = 40 // levels of folders, which links can make many
	maxArchives     = 8  // archives in archives
	maxCharts       = 500
)

// file is a file of a chart: data is its own, so that it can be known again by its address.
type file struct {
	name    string // in the chart, as Helm names it
	data    []byte
	path    string // in the repository
	archive bool   // it lies in the archive at path
}

// Load reads the chart in a folder of v, or in the archive (.tgz) that at names.
func Load(ctx context.Context, v *tree.View, at string) (*Chart, error) {
	real, err := v.Real(ctx, at)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: path.Clean(at)}, fmt.Errorf("chart is not in the repository: %w", err))
	}
	l := &chartReader{ctx: ctx, view: v}
	if v.IsDir(ctx, real) {
		err = l.folder(real)
	} else {
		var text []byte
		if text, err = v.ReadFile(ctx, real); err == nil {
			err = l.archive(real, "", text, 1)
		}
	}
	if err != nil {
		return nil, placed(real, err)
	}
	c := &Chart{path: real, commit: string(v.Commit()), files: l.files}
	metadata, err := c.metadata()
	if err != nil {
		return nil, err
	}
	c.Name = metadata.Name
	return c, nil
}

// placed gives an error that names no place that of a file.
func placed(file string, err error) error {
	var known *policies.PositionError
	if errors.As(err, &known) {
		return err
	}
	return policies.ErrorAt(policies.Position{File: file}, err)
}

type chartReader struct {
	ctx   context.Context
	view  *tree.View
	files []file
	bytes int
	seen  int // entries of folders
	depth int // of charts that depend on each other by their paths
	rules *ignore.Rules
}

func (l *chartReader) add(f file) error {
	f.data = bytes.TrimPrefix(f.data, []byte("\xef\xbb\xbf"))
	l.bytes += len(f.data)
	switch {
	case len(f.data) > maxChartFile:
		return policies.ErrorAt(policies.Position{File: f.path}, fmt.Errorf("file %s of the chart has more than %d bytes", f.name, maxChartFile))
	case l.bytes > maxChartBytes:
		return fmt.Errorf("chart has more than %d bytes", maxChartBytes)
	case len(l.files) >= maxChartFiles:
		return fmt.Errorf("chart has more than %d files", maxChartFiles)
	}
	l.files = append(l.files, f)
	return nil
}

func (l *chartReader) folder(root string) error {
	l.rules = ignore.Empty()
	if text, err := l.view.ReadFile(l.ctx, path.Join(root, ignore.HelmIgnore)); err == nil {
		if l.rules, err = ignore.Parse(bytes.NewReader(text)); err != nil {
			return policies.ErrorAt(policies.Position{File: path.Join(root, ignore.HelmIgnore)}, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.rules.AddDefaults()
	if err := l.walk(root, "", 0); err != nil {
		return err
	}
	return l.local(root)
}

// local adds the charts of the repository that a chart depends on by its path (repository: file://../common) and that were not
// copied into charts/: Argo CD and Flux would.
func (l *chartReader) local(root string) error {
	c := &Chart{path: root, files: l.files}
	metadata, err := c.metadata()
	if err != nil {
		return nil // Load says what is wrong with it
	}
	for _, d := range metadata.Dependencies {
		if d == nil || l.has(d.Name) {
			continue
		}
		relative, ok := strings.CutPrefix(d.Repository, "file://")
		if !ok {
			continue
		}
		if l.depth >= maxArchives {
			return fmt.Errorf("chart depends on charts by file:// more than %d levels deep", maxArchives)
		}
		at, err := l.view.Real(l.ctx, path.Join(root, relative))
		if err != nil || !l.view.IsDir(l.ctx, at) || path.IsAbs(relative) {
			return c.inChart("dependencies", fmt.Errorf("chart %s of %s is not in the repository", d.Name, d.Repository))
		}
		other := &chartReader{ctx: l.ctx, view: l.view, depth: l.depth + 1, bytes: l.bytes, seen: l.seen}
		if err := other.folder(at); err != nil {
			return err
		}
		l.seen = other.seen
		for _, f := range other.files {
			f.name = "charts/" + d.Name + "/" + f.name
			if err := l.add(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// has says whether charts/ has a chart of a name.
func (l *chartReader) has(name string) bool {
	for _, f := range l.files {
		parts := strings.Split(f.name, "/")
		if len(parts) != 3 || parts[0] != "charts" || parts[2] != "Chart.yaml" {
			continue
		}
		m := &chart.Metadata{}
		if yaml.Unmarshal(f.data, m) == nil && m.Name == name {
			return true
		}
	}
	return false
}

func (l *chartReader) walk(root, folder string, depth int) error {
	if depth > maxChartFolders {
		return policies.ErrorAt(policies.Position{File: path.Join(root, folder)}, fmt.Errorf("chart has folders more than %d levels deep", maxChartFolders))
	}
	entries, err := l.view.ReadDir(l.ctx, path.Join(root, folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(folder, e.Name)
		at := path.Join(root, name)
		if l.seen++; l.seen > 2*maxChartFiles {
			return fmt.Errorf("chart has more than %d files and folders", 2*maxChartFiles)
		}
		if l.rules.Ignore(name, info{e}) {
			continue
		}
		if e.Broken != nil {
			return policies.ErrorAt(policies.Position{File: at}, e.Broken)
		}
		if e.Folder {
			if err := l.walk(root, name, depth+1); err != nil {
				return err
			}
			continue
		}
		text, err := l.view.ReadFile(l.ctx, at)
		if err != nil {
			return policies.ErrorAt(policies.Position{File: at}, err)
		}
		if vendored(name) {
			if err := l.archive(at, name, text, 1); err != nil {
				return placed(at, err)
			}
			continue
		}
		if err := l.add(file{name: name, data: bytes.Clone(text), path: at}); err != nil {
			return err
		}
	}
	return nil
}

// vendoredPattern matches the archive of a chart that another depends on: charts/x.tgz, of the chart or of one in it.
var vendoredPattern = regexp.MustCompile(`^(charts/[^/]+/)*charts/[^/_.][^/]*\.tgz$`)

func vendored(name string) bool { return vendoredPattern.MatchString(name) }

// archive unpacks an archive below name, and those in it. Helm would unpack them too, but without end: an archive can hold itself.
func (l *chartReader) archive(at, name string, text []byte, depth int) error {
	if depth > maxArchives {
		return fmt.Errorf("archive %s: archives are more than %d levels deep", name, maxArchives)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("archive of the chart cannot be read: %w", err)
	}
	entries := tar.NewReader(io.LimitReader(unzipped, maxChartBytes+maxChartFiles*1024))
	seen := 0
	for {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("archive of the chart cannot be read: %w", err)
		}
		if seen++; seen > maxChartFiles {
			return fmt.Errorf("archive of the chart has more than %d entries", maxChartFiles)
		}
		switch header.Typeflag {
		case tar.TypeReg:
		case tar.TypeDir, tar.TypeXGlobalHeader, tar.TypeXHeader:
			continue
		default:
			return fmt.Errorf("archive of the chart has %q, which is no file and no folder", header.Name)
		}
		inside, err := archived(header.Name)
		if err != nil {
			return err
		}
		content, err := io.ReadAll(io.LimitReader(entries, maxChartFile+1))
		if err != nil {
			return fmt.Errorf("file %s in the archive of the chart cannot be read: %w", header.Name, err)
		}
		if name != "" {
			inside = name + "~/" + inside // a folder of its own, which Helm does not take for an archive
		}
		if vendored(inside) {
			err = l.archive(at, inside, content, depth+1)
		} else {
			err = l.add(file{name: inside, data: content, path: at, archive: true})
		}
		if err != nil {
			return err
		}
	}
	if seen == 0 {
		return errors.New("archive of the chart is empty")
	}
	return nil
}

// archived is the name of an archive's entry without its first folder.
func archived(name string) (string, error) {
	_, inside, found := strings.Cut(strings.ReplaceAll(name, `\`, "/"), "/")
	clean := path.Clean(inside)
	switch {
	case !found, clean == ".":
		return "", fmt.Errorf("archive of the chart has %q, which is not in the chart's folder", name)
	case path.IsAbs(inside), clean == "..", strings.HasPrefix(clean, "../"), len(inside) > 1 && inside[1] == ':', strings.HasPrefix(name, "../"), path.IsAbs(name):
		return "", fmt.Errorf("archive of the chart has %q, which leads out of it", name)
	}
	return clean, nil
}

// info shows an entry to the rules of .helmignore.
type info struct{ tree.DirEntry }

func (i info) Name() string       { return i.DirEntry.Name }
func (i info) Size() int64        { return 0 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.Folder }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.Folder {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

func (c *Chart) find(name string) (file, bool) {
	for _, f := range c.files {
		if f.name == name {
			return f, true
		}
	}
	return file{}, false
}

func (c *Chart) metadata() (*chart.Metadata, error) {
	f, ok := c.find("Chart.yaml")
	if !ok {
		return nil, policies.ErrorAt(policies.Position{File: c.path}, errors.New("folder is no chart: expected a Chart.yaml in it"))
	}
	m := &chart.Metadata{}
	if err := yaml.Unmarshal(f.data, m); err != nil {
		return nil, policies.ErrorAt(yamlPosition(f.path, err), fmt.Errorf("chart cannot be read: %w", err))
	}
	if m.APIVersion == "v3" {
		return nil, policies.ErrorAt(policies.Position{File: f.path}, &kustomize.OpaqueError{What: "chart of apiVersion v3", Reason: "Helm reads charts of v1 and v2; v3 is not settled yet"})
	}
	return m, nil
}

// load makes Helm's chart of the files, anew each time: rendering changes it.
func (c *Chart) load() (*chart.Chart, error) {
	files := make([]*archive.BufferedFile, len(c.files))
	for i, f := range c.files {
		files[i] = &archive.BufferedFile{Name: f.name, Data: f.data}
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, policies.ErrorAt(c.blame(err), fmt.Errorf("chart cannot be loaded: %w", err))
	}
	if n := countCharts(loaded, 0); n > maxCharts {
		return nil, policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("chart has more than %d charts in it, dependencies by other names counted", maxCharts))
	}
	return loaded, nil
}

// countCharts is how many charts Helm makes of c: a dependency that is listed under several aliases is copied for each.
func countCharts(c *chart.Chart, depth int) int {
	if depth > maxChartFolders {
		return maxCharts + 1
	}
	total := 1
	for _, d := range c.Dependencies() {
		times := 0
		for _, req := range c.Metadata.Dependencies {
			if req != nil && req.Name == d.Name() {
				times++
			}
		}
		if total += max(1, times) * countCharts(d, depth+1); total > maxCharts {
			return total
		}
	}
	return total
}

// blame finds the file that an error of loading is about.
func (c *Chart) blame(err error) policies.Position {
	for _, name := range []string{"values.yaml", "Chart.lock", "requirements.yaml", "Chart.yaml"} {
		if f, ok := c.find(name); ok && strings.Contains(err.Error(), "cannot load "+name) && !strings.Contains(err.Error(), "subchart") {
			return yamlPosition(f.path, err)
		}
	}
	return policies.Position{File: c.path}
}
