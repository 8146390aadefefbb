package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// What a bundle may be made of. A policy repository is far below; a mistaken path (a whole home folder) soon above.
const (
	maxFiles    = 10_000
	maxFileSize = 8 << 20
	maxTotal    = 128 << 20
	maxConfig   = 1 << 20
)

// reader reads the files that a bundle is made of and remembers their content for the digest.
type reader struct {
	fsys   fs.FS
	files  map[string][]byte // by path
	total  int
	config string
}

// read returns the whole of one regular file.
func (r *reader) read(name string, most int) ([]byte, error) {
	if text, ok := r.files[name]; ok {
		return text, nil
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, reasonOf(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, reasonOf(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is %s: expected a regular file", modeName(info.Mode()))
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, reasonOf(err)
	}
	if len(text) > most {
		return nil, fmt.Errorf("is larger than %d bytes", most)
	}
	if r.total += len(text); r.total > maxTotal {
		return nil, fmt.Errorf("takes the policies over %d MiB together: name a smaller folder", maxTotal>>20)
	}
	r.files[name] = text
	return text, nil
}

// reasonOf drops the path that a *fs.PathError repeats: messages begin with it.
func reasonOf(err error) error {
	var pathError *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.As(err, &pathError):
		return fmt.Errorf("cannot be read: %w", pathError.Err)
	default:
		return fmt.Errorf("cannot be read: %w", err)
	}
}

func modeName(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}

var documentExtensions = []string{".yaml", ".yml", ".json", ".rego"}

func hasDocuments(name string) bool {
	return slices.Contains(documentExtensions, strings.ToLower(path.Ext(name)))
}

// list returns the files with documents at or under name, sorted. Files and folders whose name begins with a dot are not
// looked at, nor is gitgate.yaml itself.
func (r *reader) list(name string) ([]string, error) {
	info, err := fs.Lstat(r.fsys, name)
	if err != nil {
		return nil, reasonOf(err)
	}
	if !info.IsDir() {
		switch {
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("is %s: expected a file or a folder", modeName(info.Mode()))
		case !hasDocuments(name):
			return nil, fmt.Errorf("is no file of policies: expected the extension %s", strings.Join(documentExtensions, ", "))
		}
		return []string{name}, nil
	}
	var files []string
	err = fs.WalkDir(r.fsys, name, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return policies.ErrorAt(policies.Position{File: p}, reasonOf(err))
		case p != name && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			return policies.ErrorAt(policies.Position{File: p}, errors.New("is a symbolic link, which policies are not read through: put the file itself here"))
		case !hasDocuments(p) || p == r.config:
			return nil
		case !entry.Type().IsRegular():
			return policies.ErrorAt(policies.Position{File: p}, fmt.Errorf("is %s: expected a regular file", modeName(entry.Type())))
		}
		if files = append(files, p); len(files) > maxFiles {
			return fmt.Errorf("has more than %d files of policies: name a smaller folder", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("has no file of policies (%s)", strings.Join(documentExtensions, ", "))
	}
	return files, nil
}

// documents reads the documents of one file. YAML and JSON that is no manifest is one document that has both its text and, when
// it is a map, an object without apiVersion and kind: data. The error joins everything that is wrong in the file.
func (r *reader) documents(name string) ([]policies.Document, error) {
	text, err := r.read(name, maxFileSize)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: name}, err)
	}
	if strings.EqualFold(path.Ext(name), ".rego") {
		return []policies.Document{{File: name, Text: text}}, nil
	}
	objects, problems := manifest.Decode(name, text, manifest.DefaultLimits())
	data := 0
	for _, p := range problems {
		if p.Rule == manifest.RuleNotManifest {
			data++
		}
	}
	switch {
	case len(objects) == 0 && len(problems) == 0:
		return nil, policies.ErrorAt(policies.Position{File: name}, errors.New("is empty: expected a policy, or data beside one"))
	case len(objects) == 0 && data == 1 && len(problems) == 1:
		return dataDocument(name, text)
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, policies.ErrorAt(p.Pos, errors.New(p.Message)))
	}
	docs := make([]policies.Document, len(objects))
	for i, o := range objects {
		docs[i] = policies.Document{File: name, Object: o}
	}
	return docs, errors.Join(errs...)
}

func dataDocument(name string, text []byte) ([]policies.Document, error) {
	d := policies.Document{File: name, Text: text}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, policies.ErrorAt(policies.Position{File: name}, err)
	}
	var value any
	if err := json.UnmarshalCaseSensitivePreserveInts(asJSON, &value); err != nil {
		return nil, policies.ErrorAt(policies.Position{File: name}, err)
	}
	if content, ok := value.(map[string]any); ok {
		d.Object = policies.NewObject(content, policies.Origin{File: name, Line: 1, Column: 1}, nil, nil)
	}
	return []policies.Document{d}, nil
}
