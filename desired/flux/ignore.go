package flux

import (
	"bytes"
	"context"
	"path"
	"strings"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Ignore hides in v what source-controller leaves out of the artifact of a GitRepository: what .sourceignore files and spec.ignore
// name, as .gitignore does, or, where nothing is named, the files of CI services and tools (fluxcd/pkg/sourceignore).
func Ignore(ctx context.Context, v *tree.View, repository *policies.Object) {
	spec, _ := policies.Lookup(repository.Map(), policies.Path{"spec", "ignore"})
	text, named := spec.(string)
	i := &ignore{ctx: ctx, files: v.Beside(), folders: map[string][]pattern{}}
	if named {
		i.own = patterns([]byte(text), "")
	}
	i.defaults = !named && len(i.folder("")) == 0
	v.Hide(i.hides)
}

const ignoreFile = ".sourceignore"

var byDefault = func() []pattern {
	return patterns([]byte(strings.Join([]string{
		"*.tar.gz", "*.zip", ".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml",
		"codeship-services.yml", "codeship-steps.yml", "**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml",
	}, "\n")), "")
}()

type ignore struct {
	ctx      context.Context
	files    *tree.View
	own      []pattern // of spec.ignore: after all others
	defaults bool
	folders  map[string][]pattern
}

// maxIgnoreFile bounds the bytes of one file of patterns.
const maxIgnoreFile = 1 << 20

// folder is the patterns of a folder's own file.
func (i *ignore) folder(folder string) []pattern {
	if p, ok := i.folders[folder]; ok {
		return p
	}
	var out []pattern
	if text, err := i.files.ReadFile(i.ctx, path.Join(folder, ignoreFile)); err == nil && len(text) <= maxIgnoreFile {
		out = patterns(text, folder)
	}
	i.folders[folder] = out
	return out
}

// hides says whether a file is left out. The last pattern that matches it, or a folder above it, decides.
func (i *ignore) hides(file string) bool {
	if hidden, decided := decide(i.own, file); decided {
		return hidden
	}
	for folder := file; folder != ""; {
		if folder = path.Dir(folder); folder == "." {
			folder = ""
		}
		if hidden, decided := decide(i.folder(folder), file); decided {
			return hidden
		}
	}
	hidden := false
	if i.defaults {
		hidden, _ = decide(byDefault, file)
	}
	return hidden || path.Base(file) == ".gitignore" || path.Base(file) == ".gitmodules" || path.Base(file) == ".gitattributes"
}

// pattern is one line of a .gitignore.
type pattern struct {
	folder   string   // that the file of patterns lies in
	segments []string // of an anchored pattern; one of one that matches in every folder
	anchored bool
	keeps    bool // begins with "!"
	onlyDirs bool
}

func patterns(text []byte, folder string) []pattern {
	var out []pattern
	for raw := range bytes.Lines(text) {
		line := strings.TrimRight(string(raw), "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p := pattern{folder: folder}
		line, p.keeps = strings.CutPrefix(line, "!")
		line = strings.TrimRight(line, " ")
		line, p.onlyDirs = strings.CutSuffix(line, "/")
		p.anchored = strings.Contains(line, "/")
		p.segments = strings.Split(strings.TrimPrefix(line, "/"), "/")
		out = append(out, p)
	}
	return out
}

func decide(all []pattern, file string) (hidden, decided bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].matches(file) {
			return !all[i].keeps, true
		}
	}
	return false, false
}

// matches says whether p names a file or a folder above it.
func (p *pattern) matches(file string) bool {
	rest := file
	if p.folder != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(file, p.folder+"/"); !ok {
			return false
		}
	}
	names := strings.Split(rest, "/")
	for n := len(names); n > 0; n-- {
		if p.onlyDirs && n == len(names) {
			continue
		}
		if p.anchored {
			if matchAll(p.segments, names[:n]) {
				return true
			}
		} else if ok, err := path.Match(p.segments[0], names[n-1]); err == nil && ok {
			return true
		}
	}
	return false
}

func matchAll(segments, names []string) bool {
	if len(segments) == 0 {
		return len(names) == 0
	}
	if segments[0] == "**" {
		for i := range len(names) + 1 {
			if matchAll(segments[1:], names[i:]) {
				return true
			}
		}
		return false
	}
	if len(names) == 0 {
		return false
	}
	ok, err := path.Match(segments[0], names[0])
	return err == nil && ok && matchAll(segments[1:], names[1:])
}
