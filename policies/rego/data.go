package rego

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
)

// document is what data holds beside the policies: the data files, merged.
type document struct {
	root  map[string]any
	value *ast.Term
}

// reserved are the names under data that are not for data files, with what they hold.
var reserved = map[string]string{
	"inventory": "the other objects of the change set",
	"conftest":  "the file that is judged",
}

// dataRoots says for a data file which folder stands for data itself: one of the configured, or else the topmost folder above
// it that has policies, as OPA and conftest take the folder that they are given, or else its own.
func dataRoots(configured []string, sources []policies.Document) func(file string) string {
	withPolicies := map[string]bool{}
	for _, d := range sources {
		withPolicies[path.Dir(d.File)] = true
	}
	return func(file string) string {
		own := path.Dir(file)
		best, bestConfigured := own, ""
		for dir := own; ; dir = path.Dir(dir) {
			if withPolicies[dir] {
				best = dir
			}
			for _, c := range configured {
				if path.Clean(c) == dir && bestConfigured == "" {
					bestConfigured = dir
				}
			}
			if dir == "." || dir == "/" {
				break
			}
		}
		if bestConfigured != "" {
			return bestConfigured
		}
		return best
	}
}

// mergeData makes one document of all data files. Maps are merged; whatever else two files give one name is a conflict.
func mergeData(docs []policies.Document, rootOf func(file string) string) (*document, error) {
	d := &document{root: map[string]any{}}
	whose := map[string]field{} // data path -> who set it
	var errs []error
	docs = slices.Clone(docs)
	slices.SortStableFunc(docs, func(a, b policies.Document) int { return strings.Compare(a.File, b.File) })
	for _, doc := range docs {
		contents, err := dataOf(doc)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, content := range contents {
			for _, step := range slices.Backward(below(rootOf(doc.File), path.Dir(doc.File))) {
				content = map[string]any{step: content}
			}
			errs = append(errs, merge(d.root, content, doc, nil, whose)...)
		}
	}
	for name, what := range reserved {
		if _, taken := d.root[name]; taken {
			errs = append(errs, policies.ErrorAt(whose[name].position(), fmt.Errorf("data.%s is %s, expected another name for the data of a file", name, what)))
		}
	}
	value, err := opa.Term(d.root)
	if err != nil {
		errs = append(errs, err)
	}
	d.value = value
	return d, errors.Join(errs...)
}

// below lists the folders from root down to dir, which is root or lies in it.
func below(root, dir string) []string {
	if root == dir {
		return nil
	}
	if root != "." {
		dir = strings.TrimPrefix(dir, root)
	}
	return strings.Split(strings.Trim(dir, "/"), "/")
}

// field is a field of a data file.
type field struct {
	doc  policies.Document
	path policies.Path
}

func (p field) position() policies.Position {
	if p.doc.Object != nil {
		return p.doc.Object.Locate(p.path, policies.AtKey)
	}
	return policies.Position{File: p.doc.File, Line: 1}
}

func merge(into, from map[string]any, doc policies.Document, at policies.Path, whose map[string]field) []error {
	keys := make([]string, 0, len(from))
	for key := range from {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var errs []error
	for _, key := range keys {
		here := at.Append(key)
		name := here.String()
		known, taken := into[key]
		mine, isMap := from[key].(map[string]any)
		theirs, wasMap := known.(map[string]any)
		switch {
		case taken && isMap && wasMap:
			errs = append(errs, merge(theirs, mine, doc, here, whose)...)
		case taken:
			other := whose[name].position()
			errs = append(errs, policies.ErrorAt(field{doc, here}.position(),
				fmt.Errorf("data.%s is given twice, also at %s:%d", name, other.File, other.Line)))
		case isMap:
			whose[name] = field{doc, here}
			fresh := map[string]any{}
			into[key] = fresh
			errs = append(errs, merge(fresh, mine, doc, here, whose)...)
		default:
			whose[name] = field{doc, here}
			into[key] = from[key]
		}
	}
	return errs
}

// dataOf is the content of a data document: one map, or those of a YAML stream.
func dataOf(doc policies.Document) ([]map[string]any, error) {
	if doc.Object != nil {
		return []map[string]any{doc.Object.Map()}, nil
	}
	wrong := func(err error) error { return policies.ErrorAt(policies.Position{File: doc.File, Line: 1}, err) }
	var content any
	if path.Ext(doc.File) == ".json" {
		decoder := json.NewDecoder(bytes.NewReader(doc.Text))
		decoder.UseNumber()
		err := decoder.Decode(&content)
		if err == nil {
			if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("something follows the document")
			}
		}
		if err != nil {
			return nil, wrong(fmt.Errorf("data file is no JSON: %w", err))
		}
	} else if err := util.Unmarshal(doc.Text, &content); err != nil {
		return nil, wrong(fmt.Errorf("data file is no YAML: %w", err))
	}
	m, ok := content.(map[string]any)
	if !ok {
		return nil, wrong(errors.New("data file holds no map, expected one so that its fields have names under data"))
	}
	return []map[string]any{m}, nil
}

// exists says whether a data file gives something at a path or above it, where a rule would be hidden.
func (d *document) exists(at []string) (bool, error) {
	var v any = d.root
	for _, step := range at {
		m, ok := v.(map[string]any)
		if !ok {
			return true, nil
		}
		if v, ok = m[step]; !ok {
			return false, nil
		}
	}
	return true, nil
}
