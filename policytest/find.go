package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// What a tree of tests may have: a repository of policies is far below, a mistaken folder soon above.
const (
	maxFiles    = 50_000
	maxFileSize = 8 << 20
)

// tree is the tests of one folder.
type tree struct {
	sets       []*set
	rego       []regoTests
	kyverno    []*policies.Object
	gatekeeper []*policies.Object
	foreign    []Result
}

// regoTests are Rego files that are compiled together, with tests among them.
type regoTests struct {
	folder string
	files  []string
}

// find looks for the tests of dir. Files that are in seen belong to another folder already.
func find(o *Options, dir string, seen map[string]bool) (*tree, error) {
	files, err := list(dir, seen)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	wanting := map[string]bool{} // folders whose manifests say what they want
	sets := map[string]*set{}    // by the child of ok or bad, or the folder
	rego := map[string]*regoTests{}
	var plain []string
	for _, file := range files {
		switch ext := path.Ext(file); {
		case ext == ".rego":
			home := o.Home(dir, file)
			if rego[home] == nil {
				rego[home] = &regoTests{folder: home}
			}
			rego[home].files = append(rego[home].files, file)
		case ext == ".yaml" || ext == ".yml" || ext == ".json":
			text, err := Read(file)
			if err != nil {
				return nil, err
			}
			if tests := kyvernoOf(o, file, text); len(tests) > 0 {
				t.kyverno = append(t.kyverno, tests...)
				continue
			}
			if suites := suitesOf(file, text); len(suites) > 0 {
				t.gatekeeper = append(t.gatekeeper, suites...)
				continue
			}
			if r, ok := foreign(file, text); ok {
				t.foreign = append(t.foreign, r)
				continue
			}
			if name, only, folder := verdictFolder(dir, file); only != "" {
				if sets[name] == nil {
					sets[name] = &set{folder: folder, name: name, only: only}
				}
				sets[name].files = append(sets[name].files, file)
				continue
			}
			if bytes.Contains(text, []byte("# want ")) {
				wanting[path.Dir(file)] = true
			} else if o.IsPolicy(file) {
				continue
			}
			plain = append(plain, file)
		}
	}
	for _, file := range plain {
		if folder := path.Dir(file); wanting[folder] {
			if sets[folder] == nil {
				sets[folder] = &set{folder: folder, name: folder}
			}
			sets[folder].files = append(sets[folder].files, file)
		}
	}
	for _, s := range sets {
		t.sets = append(t.sets, s)
	}
	slices.SortFunc(t.sets, func(a, b *set) int { return strings.Compare(a.name, b.name) })
	for _, r := range rego {
		if slices.ContainsFunc(r.files, func(f string) bool { return strings.HasSuffix(f, "_test.rego") }) {
			t.rego = append(t.rego, *r)
		}
	}
	slices.SortFunc(t.rego, func(a, b regoTests) int { return strings.Compare(a.folder, b.folder) })
	return t, nil
}

// verdictFolder finds the outermost folder ok or bad between dir and file: the child of it that holds file is one test, and the
// folder above has its policies.
func verdictFolder(dir, file string) (name, only, folder string) {
	rel := file
	above := ""
	if d := path.Clean(filepath.ToSlash(dir)); d != "." {
		if file == d {
			return "", "", ""
		}
		rel, above = strings.TrimPrefix(file, strings.TrimSuffix(d, "/")+"/"), d
		if base := path.Base(d); base == "ok" || base == "bad" {
			rel, above = base+"/"+rel, path.Dir(d)
		}
	}
	steps := strings.Split(rel, "/")
	for i, step := range steps[:len(steps)-1] {
		if step == "ok" || step == "bad" {
			return path.Join(above, path.Join(steps[:i+2]...)), step, path.Join(above, path.Join(steps[:i]...), ".")
		}
	}
	return "", "", ""
}

// list returns the files under dir, sorted; those whose names begin with a dot are left out, but for the folders of Kyverno's
// tests, and no symbolic link is followed.
func list(dir string, seen map[string]bool) (files []string, err error) {
	err = filepath.WalkDir(filepath.FromSlash(path.Clean(filepath.ToSlash(dir))), func(name string, entry fs.DirEntry, err error) error {
		shown := filepath.ToSlash(name)
		switch {
		case err != nil:
			return fmt.Errorf("%s cannot be read: %w", shown, cause(err))
		case name != filepath.Clean(dir) && strings.HasPrefix(entry.Name(), ".") && !(entry.IsDir() && entry.Name() == kyvernoFolder):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular() || entry.Name() == "gitgate.yaml":
			return nil
		}
		real, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		if seen[real] {
			return nil
		}
		seen[real] = true
		if files = append(files, shown); len(files) > maxFiles {
			return fmt.Errorf("%s has more than %d files: name a smaller folder", dir, maxFiles)
		}
		return nil
	})
	return files, err
}

// Read returns the content of a file that is not too large for a test.
func Read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, cause(err))
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxFileSize)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", file, cause(err))
	}
	return text, nil
}

func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// kyvernoFile is the name of the files that the Kyverno CLI looks for, and kyvernoFolder that of a folder that begins with a dot and
// that it looks into.
const (
	kyvernoFile   = "kyverno-test.yaml"
	kyvernoFolder = ".kyverno-test"
)

// kyvernoOf returns the Kyverno CLI tests that a file is; none for others. Old tests say no kind: these are told apart by their name.
func kyvernoOf(o *Options, file string, text []byte) []*policies.Object {
	if !bytes.Contains(text, []byte("cli.kyverno.io/v1alpha1")) {
		if path.Base(file) == kyvernoFile {
			if test := o.KyvernoTest(file, text); test != nil {
				return []*policies.Object{test}
			}
		}
		return nil
	}
	objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
	if len(problems) > 0 || slices.ContainsFunc(objects, func(o *policies.Object) bool {
		return o.Kind != policies.GroupVersionKind{Group: "cli.kyverno.io", Version: "v1alpha1", Kind: "Test"}
	}) {
		return nil
	}
	return objects
}

// suitesOf returns the Gatekeeper suites in a file.
func suitesOf(file string, text []byte) (suites []*policies.Object) {
	if !bytes.Contains(text, []byte(suiteGroup)) {
		return nil
	}
	objects, _ := manifest.Decode(file, text, manifest.DefaultLimits())
	for _, o := range objects {
		if o.Kind.Group == suiteGroup && o.Kind.Kind == "Suite" {
			suites = append(suites, o)
		}
	}
	return suites
}

// foreign says whether a file is a test that cannot be read: it is no test that passed.
func foreign(file string, text []byte) (Result, bool) {
	if !bytes.Contains(text, []byte("cli.kyverno.io")) && !bytes.Contains(text, []byte(suiteGroup)) && path.Base(file) != kyvernoFile {
		return Result{}, false
	}
	objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
	errored := func(sort string, pos policies.Position, message string) (Result, bool) {
		return Result{Sort: sort, Name: file, Pos: pos, Outcome: Errored, Problems: []Problem{{pos, message}}}, true
	}
	for _, o := range objects {
		switch {
		case o.Kind.Group == "cli.kyverno.io" && o.Kind.Kind == "Test":
			return errored("kyverno", o.Locate(policies.Path{"kind"}, policies.AtValue), "this file is no test that can be read: expected one document of cli.kyverno.io/v1alpha1, kind Test")
		case o.Kind.Group == "cli.kyverno.io":
			return Result{}, false
		}
	}
	pos := policies.Position{File: file, Line: 1}
	switch {
	case path.Base(file) == kyvernoFile:
		return errored("kyverno", pos, "this file is no test that can be read: expected one document of cli.kyverno.io/v1alpha1, kind Test")
	case len(problems) > 0 && bytes.Contains(text, []byte("apiVersion: "+suiteGroup)):
		return errored("gatekeeper", problems[0].Pos, problems[0].Message)
	}
	return Result{}, false
}
