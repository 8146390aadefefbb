// Package library holds the policies that ship with gitgate: documents in Rego that are embedded, each in a folder of its name
// with fixtures beside it. It says which documents a name of gitgate.yaml stands for, and what holds for the compiled policies
// beyond what they say themselves. It compiles nothing and knows neither the kind of policy that does, nor configuration, doors
// and reports.
package library

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

//go:embed lib/*.rego best-practices/*/policy.rego pod-security/*/*/policy.rego
var files embed.FS

// Prefix begins the file names of the library's documents: library:pod-security/baseline/privileged.rego.
const Prefix = "library:"

const (
	document = "policy.rego" // of a policy, in the folder of its name
	shared   = "lib"         // folder of what policies share
)

// Latest stands for the newest version of the Pod Security Standards.
const Latest = "latest"

// newest is above every minor version of Kubernetes in which a policy has changed.
const newest = 1000

// Policies lists the names of all policies, sorted.
func Policies() []string {
	var names []string
	// The embedded file system has no errors to give.
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == document {
			names = append(names, path.Dir(name))
		}
		return err
	})
	slices.Sort(names)
	return names
}

// Families lists the names that stand for several policies, sorted.
func Families() []string {
	var names []string
	for _, policy := range Policies() {
		for dir := path.Dir(policy); dir != "."; dir = path.Dir(dir) {
			if !slices.Contains(names, dir) {
				names = append(names, dir)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Library is the policies that ship, as a bundle asks for them. The zero value is ready.
type Library struct{}

// Names lists every policy and every family.
func (Library) Names() []string {
	names := append(Policies(), Families()...)
	slices.Sort(names)
	return names
}

// Policies returns the names of the policies that name stands for: itself, or those of a family. restricted has those of
// baseline too, less the ones of which it asks more at the version; see Select for that.
func (Library) Policies(name, version string) ([]string, error) {
	minor, err := minorOf(version)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, policy := range Policies() {
		switch {
		case policy == name, strings.HasPrefix(policy, name+"/"):
			out = append(out, policy)
		case name == restricted && strings.HasPrefix(policy, baseline+"/") && !overridden(policy, minor):
			out = append(out, policy)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no policy or family of the library is named %q", name)
	}
	return out, nil
}

// Select returns the documents that name stands for at a version: one for each policy, named by FileOf, and those that they
// share. The version is one of Kubernetes: "1.36", "v1.36", or "latest". Documents of one file name are the same wherever
// they are selected, but for the one that says the version.
func (l Library) Select(name, version string) ([]policies.Document, error) {
	names, err := l.Policies(name, version)
	if err != nil {
		return nil, err
	}
	minor, err := minorOf(version)
	if err != nil {
		return nil, err
	}
	var docs []policies.Document
	if l.HasVersions(name) {
		docs = append(docs, policies.Document{
			File: Prefix + shared + "/kubernetes.rego",
			Text: fmt.Appendf(nil, "# The version whose Pod Security Standards are asked for.\npackage library.kubernetes\n\nminor := %d\n", minor),
		})
	}
	parts, err := fs.ReadDir(files, shared)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		text, err := files.ReadFile(path.Join(shared, part.Name()))
		if err != nil {
			return nil, err
		}
		docs = append(docs, policies.Document{File: Prefix + shared + "/" + part.Name(), Text: text})
	}
	for _, name := range names {
		text, err := files.ReadFile(path.Join(name, document))
		if err != nil {
			return nil, err
		}
		docs = append(docs, policies.Document{File: FileOf(name), Text: text})
	}
	return docs, nil
}

// FileOf is the file name of the document of a policy.
func FileOf(policy string) string { return Prefix + policy + ".rego" }

// HasVersions says whether what a policy or family asks for depends on the version.
func (Library) HasVersions(name string) bool {
	return name == podSecurity || strings.HasPrefix(name, podSecurity+"/")
}

var versionPattern = regexp.MustCompile(`^v?1\.(0|[1-9][0-9]{0,2})$`)

var errVersion = errors.New(`expected latest or a version of Kubernetes such as "1.36"`)

func minorOf(version string) (int, error) {
	if version == Latest || version == "" {
		return newest, nil
	}
	found := versionPattern.FindStringSubmatch(version)
	if found == nil {
		return 0, fmt.Errorf("version %q: %w", version, errVersion)
	}
	return strconv.Atoi(found[1])
}
