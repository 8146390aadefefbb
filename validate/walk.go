package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// walker finds the files of a run. Folders are walked in full. A symbolic link that a folder holds is followed when it leads
// into one of the folders that were given; each file is judged once, so a link to one that is judged anyway is only noted.
type walker struct {
	options  *Options
	files    []file // sorted by name
	errs     map[string]error
	skipped  []Skipped
	others   int
	stdin    *spool
	excluded map[string]string // absolute path -> reason
	roots    []string          // folders that were given, absolute and without links
	links    []symlink         // symbolic links that were met
	named    map[string]bool   // files that were given, absolute and without links
	folders  map[string]bool   // folders that were walked, absolute and without links
}

// file is one file to judge. name is how it is shown, and opened.
type file struct {
	name  string
	given bool // by the user, not found in a folder
	chart bool // a template of a Helm chart, by its folder
	// hidden says that it or a folder it was found in has a name that begins with a dot. Reconcilers apply manifests there too,
	// and other tools keep their own files there: it is judged when it holds an object.
	hidden bool
	stdin  bool // not a file
}

// symlink is a symbolic link found in a folder.
type symlink struct {
	name   string
	hidden bool // as of file
}

func newWalker(o *Options) *walker {
	w := &walker{options: o, errs: map[string]error{}, excluded: map[string]string{}, folders: map[string]bool{}, named: map[string]bool{}}
	for _, e := range o.Exclude {
		if abs, err := filepath.Abs(e.Path); err == nil {
			w.excluded[abs] = e.Reason
		}
	}
	return w
}

func (w *walker) close() {
	if w.stdin != nil {
		w.stdin.close()
	}
}

// walk fills files. Its errors are about the paths that were given.
func (w *walker) walk(ctx context.Context) error {
	var errs []error
	var folders []string
	for _, path := range w.options.Paths {
		isFolder, err := w.given(ctx, path)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if isFolder {
			folders = append(folders, path)
		}
	}
	for _, path := range folders {
		if err := w.root(ctx, path); err != nil {
			return err
		}
	}
	if len(errs) > 0 {
		return &UsageError{errors.Join(errs...)}
	}
	if err := w.follow(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(w.files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	w.files = slices.CompactFunc(w.files, func(a, b file) bool { return a.name == b.name && a.stdin == b.stdin })
	return nil
}

// given adds a path that the user named, unless it is a folder. A link or an unusual name is followed as it is: the user asked
// for it.
func (w *walker) given(ctx context.Context, path string) (isFolder bool, err error) {
	if path == "-" {
		return false, w.addStdin(ctx)
	}
	name := filepath.ToSlash(filepath.Clean(path))
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("path %s does not exist", path)
	case err != nil:
		w.fail(name, err)
	case info.IsDir():
		return true, nil
	case !info.Mode().IsRegular():
		w.fail(name, notRegular(info.Mode()))
	default:
		if real, err := realPath(path); err == nil {
			if w.named[real] {
				return false, nil
			}
			w.named[real] = true
			if reason, excluded := w.excluded[real]; excluded {
				w.skip(name, reason)
				return false, nil
			}
		}
		w.files = append(w.files, file{name: name, given: true})
	}
	return false, nil
}

// root adds what is in a folder that the user named.
func (w *walker) root(ctx context.Context, path string) error {
	name := filepath.ToSlash(filepath.Clean(path))
	real, err := realPath(path)
	if err != nil {
		w.fail(name, err)
		return nil
	}
	w.roots = append(w.roots, real)
	return w.folder(ctx, name, real, place{})
}

func (w *walker) addStdin(ctx context.Context) error {
	if w.stdin != nil {
		return errors.New("path -: standard input is given twice, expected once")
	}
	if w.options.Stdin == nil {
		return errors.New("path -: there is no standard input")
	}
	name := w.options.StdinFilename
	if name == "" {
		name = "stdin"
	}
	s, err := newSpool(ctx, name, w.options.Stdin)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.fail(name, err)
		return nil
	}
	w.stdin = s
	w.files = append(w.files, file{name: name, given: true, stdin: true})
	return nil
}

// place is what a folder says of the files below it: see file.
type place struct{ chart, hidden bool }

// folder adds what is in a folder. real is its absolute path without links.
func (w *walker) folder(ctx context.Context, name, real string, in place) error {
	if w.folders[real] {
		return nil
	}
	w.folders[real] = true
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entries, err := os.ReadDir(filepath.FromSlash(name))
	if err != nil {
		w.fail(name, err)
		return nil
	}
	isChart := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "Chart.yaml" })
	for _, e := range entries {
		path := join(name, e.Name())
		reason, excluded := w.excluded[filepath.Join(real, e.Name())]
		manifestName := w.reads(e.Name())
		hidden := in.hidden || strings.HasPrefix(e.Name(), ".")
		switch mode := e.Type(); {
		case w.named[filepath.Join(real, e.Name())]: // by itself
		case excluded:
			w.skip(path, reason)
		case e.Name() == ".git": // Git's own: no part of what the repository holds
		case mode.IsDir():
			below := place{chart: in.chart || isChart && e.Name() == "templates", hidden: hidden}
			if err := w.folder(ctx, path, filepath.Join(real, e.Name()), below); err != nil {
				return err
			}
		case mode&fs.ModeSymlink != 0:
			w.links = append(w.links, symlink{path, hidden})
		case !manifestName:
			w.others++
		case !mode.IsRegular():
			w.fail(path, notRegular(mode))
		default:
			w.files = append(w.files, file{name: path, chart: in.chart, hidden: hidden})
		}
	}
	return nil
}

// follow goes after the symbolic links that were met, until there are no new ones.
func (w *walker) follow(ctx context.Context) error {
	if len(w.links) == 0 {
		return nil
	}
	known := make(map[string]bool, len(w.files)) // real paths of files
	n := 0
	note := func() {
		for ; n < len(w.files); n++ {
			if real, err := realPath(w.files[n].name); err == nil && !w.files[n].stdin {
				known[real] = true
			}
		}
	}
	note()
	for len(w.links) > 0 {
		links := w.links
		w.links = nil
		slices.SortFunc(links, func(a, b symlink) int { return cmp.Compare(a.name, b.name) })
		for _, link := range links {
			if err := w.link(ctx, link, known); err != nil {
				return err
			}
			note()
		}
	}
	return nil
}

// link follows one symbolic link that a folder holds.
func (w *walker) link(ctx context.Context, met symlink, known map[string]bool) error {
	link := met.name
	real, err := realPath(link)
	if err != nil {
		if !w.reads(link) {
			w.skip(link, "symbolic link that leads nowhere")
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			w.fail(link, errors.New("symbolic link leads nowhere, expected a file"))
		} else {
			w.fail(link, fmt.Errorf("symbolic link cannot be followed, perhaps because it leads in a circle: %w", cause(err)))
		}
		return nil
	}
	info, err := os.Stat(real)
	if err != nil {
		w.fail(link, err)
		return nil
	}
	reason, excluded := w.excluded[real]
	switch {
	case !info.IsDir() && !w.reads(link):
		w.others++
	case excluded:
		w.skip(link, reason)
	case met.hidden && info.IsDir() && !w.inside(real):
		w.skip(link, "hidden, and a symbolic link that leads out of the folder that is checked")
	case !w.inside(real):
		w.fail(link, errors.New("symbolic link leads out of the folder that is checked, expected a target inside it"))
	case info.IsDir() && w.folders[real]:
		w.skip(link, "symbolic link to a folder that is checked itself")
	case info.IsDir():
		return w.folder(ctx, link, real, place{hidden: met.hidden})
	case !info.Mode().IsRegular():
		w.fail(link, notRegular(info.Mode()))
	case known[real]:
		w.skip(link, "symbolic link to a file that is checked itself")
	default:
		w.files = append(w.files, file{name: link, hidden: met.hidden})
	}
	return nil
}

// inside says that real is one of the given folders or lies in one.
func (w *walker) inside(real string) bool {
	return slices.ContainsFunc(w.roots, func(root string) bool {
		return real == root || strings.HasPrefix(real, strings.TrimSuffix(root, string(filepath.Separator))+string(filepath.Separator))
	})
}

func (w *walker) skip(name, reason string) {
	w.skipped = append(w.skipped, Skipped{name, reason})
}

// fail adds a file that cannot be read: its decision says so.
func (w *walker) fail(name string, err error) {
	w.errs[name] = cause(err)
	w.files = append(w.files, file{name: name, given: true})
}

// cause is err without the path that messages name already.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

func notRegular(mode fs.FileMode) error {
	what := "special file"
	switch {
	case mode.IsDir():
		what = "folder"
	case mode&fs.ModeNamedPipe != 0:
		what = "named pipe"
	case mode&fs.ModeSocket != 0:
		what = "socket"
	case mode&fs.ModeDevice != 0:
		what = "device"
	}
	return fmt.Errorf("it is a %s, expected a regular file", what)
}

func realPath(name string) (string, error) {
	abs, err := filepath.Abs(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func join(folder, name string) string {
	switch {
	case folder == ".":
		return name
	case strings.HasSuffix(folder, "/"):
		return folder + name
	default:
		return folder + "/" + name
	}
}

// reads says whether a file of this name, found in a folder, is read.
func (w *walker) reads(name string) bool {
	if p := w.options.Plain; p != nil {
		return p.Reads(name)
	}
	return isManifestName(name)
}

func isManifestName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
