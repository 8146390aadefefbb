package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// kind is a resource that can be created, with where it is in the OpenAPI documents.
type kind struct {
	group, version, kind, plural string
	namespaced                   bool
}

func (k kind) key() string { return k.group + "/" + k.version + "/" + k.kind }

// lifecycle is what k8s.io/api says of the life of a type.
type lifecycle struct{ deprecated, removed, replacement string }

type kindEntry struct {
	kind
	in uint8
	lifecycle
}

type kindTable struct{ entries map[string]*kindEntry }

func newKinds() *kindTable { return &kindTable{entries: map[string]*kindEntry{}} }

// add merges the kinds of one version. What the newest version says of a life holds for all.
func (t *kindTable) add(bit uint8, kinds []kind, lives map[string]lifecycle) {
	for _, k := range kinds {
		e := t.entries[k.key()]
		if e == nil {
			e = &kindEntry{kind: k}
			t.entries[k.key()] = e
		}
		if e.kind != k {
			log.Fatalf("%s has another resource or scope than in an earlier version: write a line for each", k.key())
		}
		e.in |= bit
	}
	for key, e := range t.entries {
		if life, ok := lives[key]; ok {
			e.lifecycle = life
		}
	}
}

// text writes one "release" line a version and one line a kind:
// group version kind plural N|C mask deprecated removed replacement shape, "-" for nothing.
func (t *kindTable) text(releases []release, shapes *shapeTable) string {
	var b strings.Builder
	for _, r := range releases {
		fmt.Fprintf(&b, "release %s %s@%s %s\n", r.minor, r.kubernetes.Path, r.kubernetes.Version, r.kubernetes.Sum)
	}
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	for _, key := range sorted(t.entries) {
		e := t.entries[key]
		scope := "C"
		if e.namespaced {
			scope = "N"
		}
		shape, ok := shapes.kinds[key]
		if !ok {
			log.Fatalf("%s is served but has no OpenAPI schema", key)
		}
		fmt.Fprintln(&b, dash(e.group), e.version, e.kind.kind, e.plural, scope, e.in, dash(e.deprecated), dash(e.removed), dash(e.replacement), shape)
	}
	return b.String()
}

// readKinds reads the discovery documents of a Kubernetes source tree.
func readKinds(dir string) []kind {
	files, err := filepath.Glob(filepath.Join(dir, "api", "discovery", "*__*.json"))
	if err != nil || len(files) == 0 {
		log.Fatalf("%s: no discovery documents: %v", dir, err)
	}
	var out []kind
	for _, file := range files {
		var list struct {
			GroupVersion string
			Resources    []struct {
				Name, Kind string
				Namespaced bool
				Verbs      []string
			}
		}
		readJSON(file, &list)
		group, version, ok := strings.Cut(list.GroupVersion, "/")
		if !ok {
			group, version = "", list.GroupVersion
		}
		for _, r := range list.Resources {
			if strings.Contains(r.Name, "/") || !contains(r.Verbs, "create") {
				continue
			}
			out = append(out, kind{group, version, r.Kind, r.Name, r.Namespaced})
		}
	}
	return out
}

var (
	groupName = regexp.MustCompile(`(?m)^const GroupName = "([^"]*)"`)
	lifeFunc  = regexp.MustCompile(`(?s)func \(in \*(\w+)\) APILifecycle(Deprecated|Removed|Replacement)\(\)[^{]*\{\s*return ([^\n]*)\n`)
	majorMin  = regexp.MustCompile(`^(\d+), (\d+)$`)
	gvkText   = regexp.MustCompile(`Group: "([^"]*)", Version: "([^"]*)", Kind: "([^"]*)"`)
)

// readLifecycles reads the APILifecycle functions of k8s.io/api, keyed as kind.key does.
func readLifecycles(dir string) map[string]lifecycle {
	out := map[string]lifecycle{}
	registers, err := filepath.Glob(filepath.Join(dir, "*", "*", "register.go"))
	if err != nil || len(registers) == 0 {
		log.Fatalf("%s: no API groups: %v", dir, err)
	}
	for _, register := range registers {
		folder := filepath.Dir(register)
		m := groupName.FindStringSubmatch(readText(register))
		if m == nil {
			log.Fatalf("%s: no GroupName", register)
		}
		sources, err := fs.Glob(os.DirFS(folder), "*lifecycle.go")
		if err != nil {
			log.Fatal(err)
		}
		for _, source := range sources {
			for _, f := range lifeFunc.FindAllStringSubmatch(readText(filepath.Join(folder, source)), -1) {
				key := m[1] + "/" + filepath.Base(folder) + "/" + f[1]
				life := out[key]
				switch f[2] {
				case "Replacement":
					if g := gvkText.FindStringSubmatch(f[3]); g != nil {
						life.replacement = strings.TrimPrefix(g[1]+"/"+g[2]+"/"+g[3], "/")
					}
				default:
					v := majorMin.FindStringSubmatch(f[3])
					if v == nil {
						log.Fatalf("%s: %s of %s: %q is no version", folder, f[2], f[1], f[3])
					}
					if f[2] == "Deprecated" {
						life.deprecated = v[1] + "." + v[2]
					} else {
						life.removed = v[1] + "." + v[2]
					}
				}
				out[key] = life
			}
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func readText(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return string(b)
}

func readJSON(file string, into any) {
	if err := json.Unmarshal([]byte(readText(file)), into); err != nil {
		log.Fatalf("%s: %v", file, err)
	}
}
