// Package manifest turns text into objects that know where each of their fields is written: YAML of many documents, JSON, JSON
// after JSON, and the items of List kinds. A value is what Kubernetes' clients read (sigs.k8s.io/yaml: YAML 1.1 booleans,
// octals, merge keys), a doubled key is a problem, and no text makes it panic, hang or take memory without bound. It knows no
// file system, no schema and no policy.
package manifest

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policies"
)

// Problem is what is wrong with a text: Rule is one of the Rule constants, Pos is set, Path is nil.
type Problem = policies.Violation

// The rules that a Problem can carry.
const (
	RuleSyntax       = "syntax"         // the text is neither YAML nor JSON
	RuleEncoding     = "encoding"       // the text is not UTF-8, or has characters that YAML forbids
	RuleDuplicateKey = "duplicate-key"  // one key twice in one map
	RuleNotManifest  = "not-a-manifest" // no apiVersion and kind
	RuleTooLarge     = "too-large"      // more bytes or fields than Limits allow
	RuleTooDeep      = "too-deep"       // more levels than Limits allow
	RuleAlias        = "alias"          // an alias that contains itself, or aliases that expand beyond Limits
	RuleUnreadable   = "unreadable"     // the reader failed: nothing is known of the rest
)

// RuleIDs lists every rule that a Problem can carry.
func RuleIDs() []string {
	return []string{RuleSyntax, RuleEncoding, RuleDuplicateKey, RuleNotManifest, RuleTooLarge, RuleTooDeep, RuleAlias, RuleUnreadable}
}

// Limits bound what one document may cost. A zero field takes its default.
type Limits struct {
	Document int // bytes of one document as written
	Fields   int // map entries and list items of one document, aliases expanded
	Depth    int // maps and lists inside each other
	Expanded int // bytes of all scalars of one document, aliases expanded
}

// DefaultLimits are far above what the API server accepts (3 MiB a request), so that a List of many objects fits.
func DefaultLimits() Limits {
	return Limits{Document: 16 << 20, Fields: 1 << 20, Depth: 500, Expanded: 64 << 20}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int }{{&l.Document, &d.Document}, {&l.Fields, &d.Fields}, {&l.Depth, &d.Depth}, {&l.Expanded, &d.Expanded}} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return l
}

// Decode reads all of text, which is shown as file in messages. A document with a problem gives no object, except one whose
// only problems are doubled keys: there the last one counts and the object is judged too.
func Decode(file string, text []byte, lim Limits) ([]*policies.Object, []Problem) {
	var objects []*policies.Object
	var problems []Problem
	for o, p := range ReadBytes(file, text, lim) {
		if p != nil {
			problems = append(problems, *p)
		} else {
			objects = append(objects, o)
		}
	}
	return objects, problems
}

// ReadBytes is Decode in the order of the text: it yields an object or a problem at a time. Nothing keeps text.
func ReadBytes(file string, text []byte, lim Limits) iter.Seq2[*policies.Object, *Problem] {
	return func(yield func(*policies.Object, *Problem) bool) {
		read(newSplitter(file, text, nil, lim.orDefault()), yield)
	}
}

// Read is ReadBytes for a stream of any length: it yields an object or a problem as soon as its document ends, and holds one
// document at a time. A document beyond the limits is a problem, and reading goes on after it.
func Read(file string, r io.Reader, lim Limits) iter.Seq2[*policies.Object, *Problem] {
	return func(yield func(*policies.Object, *Problem) bool) {
		read(newSplitter(file, nil, r, lim.orDefault()), yield)
	}
}

func read(s *splitter, yield func(*policies.Object, *Problem) bool) {
	count := 0
	for {
		d, problem := s.next()
		if problem != nil {
			if !yield(nil, problem) {
				return
			}
			continue
		}
		if d == nil {
			return
		}
		root, problems := s.decode(d)
		for i := range problems {
			if !yield(nil, &problems[i]) {
				return
			}
		}
		if root == nil {
			continue
		}
		if !d.objects(root, nil, &count, yield) {
			return
		}
	}
}

// decode makes the value of d, or nil when there is none or it has problems that leave none.
func (s *splitter) decode(d *document) (any, []Problem) {
	if d.json {
		if utf8.ValidString(d.text) {
			if root, ok := d.parse(s.limits); ok {
				return root.value, root.problems
			}
		}
		// What begins like JSON and is not is read as YAML, as kubectl does.
		if p := s.rejoin(d); p != nil {
			return nil, []Problem{*p}
		}
	}
	if p := d.encoding(); p != nil {
		return nil, []Problem{*p}
	}
	if root, ok := d.parse(s.limits); ok {
		return root.value, root.problems
	}
	return d.library(s.limits)
}

// objects yields the object that content is, or the objects that it lists. at is where content stands in the document.
func (d *document) objects(root any, at policies.Path, count *int, yield func(*policies.Object, *Problem) bool) bool {
	content, ok := root.(map[string]any)
	if !ok {
		return d.tell(yield, d.notManifest(at, whatIs(at)+" is "+nameOf(root)+", expected a Kubernetes object with apiVersion and kind", describe(d, nil)))
	}
	apiVersion, hasVersion := content["apiVersion"].(string)
	kind, hasKind := content["kind"].(string)
	if !hasVersion || !hasKind || apiVersion == "" || kind == "" {
		return d.tell(yield, d.missing(content, at))
	}
	// As kubectl does (UnstructuredJSONScheme): items that are null are an empty list.
	items, isList := content["items"].([]any)
	if v, written := content["items"]; written && v == nil {
		isList = true
	}
	if kind == "List" && apiVersion == "v1" && !isList {
		return d.tell(yield, d.noItems(content, at))
	}
	if isList && strings.HasSuffix(kind, "List") {
		for i, item := range items {
			if m, ok := item.(map[string]any); ok && kind != "List" && m["kind"] == nil && m["apiVersion"] == nil {
				// The API server writes items of a PodList without their type (apimachinery's UnstructuredJSONScheme adds it).
				m["kind"], m["apiVersion"] = strings.TrimSuffix(kind, "List"), apiVersion
			}
			if !d.objects(item, at.Append("items", i), count, yield) {
				return false
			}
		}
		return true
	}
	source := &source{doc: d, at: at, secret: kind == "Secret", beside: len(at) > 0 && d.maybeSecret()}
	pos, _ := source.start()
	origin := policies.Origin{File: d.file, Document: *count, Line: pos.Line, Column: pos.Column}
	*count++
	return yield(policies.NewObject(content, origin, source, nil), nil)
}

// tell yields a problem, unless so many of the document's are told already that nobody reads on.
func (d *document) tell(yield func(*policies.Object, *Problem) bool, p *Problem) bool {
	last, over := d.full()
	if over {
		return true
	}
	if last {
		p.Message += "; further problems of this document are not shown"
	}
	return yield(nil, p)
}

// missing is the problem of a map that is no Kubernetes object.
func (d *document) missing(content map[string]any, at policies.Path) *Problem {
	for _, key := range []string{"kind", "apiVersion"} {
		v, written := content[key]
		if s, ok := v.(string); written && (!ok || s == "") {
			p := d.notManifest(at.Append(key), fmt.Sprintf("field %s is %s, expected %s", key, nameOf(v), exampleOf[key]), "")
			return p
		}
	}
	_, hasVersion := content["apiVersion"]
	_, hasKind := content["kind"]
	switch guess := describe(d, content); {
	case hasVersion && !hasKind:
		return d.notManifest(at.Append("apiVersion"), whatIs(at)+" has no kind, expected "+exampleOf["kind"], guess)
	case hasKind && !hasVersion:
		return d.notManifest(at.Append("kind"), whatIs(at)+" has no apiVersion, expected "+exampleOf["apiVersion"], guess)
	default:
		return d.notManifest(at, whatIs(at)+" has no apiVersion and no kind, expected a Kubernetes object", guess)
	}
}

// noItems is the problem of a List that lists nothing.
func (d *document) noItems(content map[string]any, at policies.Path) *Problem {
	p := d.notManifest(at.Append("kind"), "List has no field items, expected a list of Kubernetes objects", "")
	if v, written := content["items"]; written {
		p = d.notManifest(at.Append("items"), "field items is "+nameOf(v)+", expected a list of Kubernetes objects", "")
	}
	p.Fix = "write the objects under items, each with `- ` before it, or `items: []` for none"
	return p
}

var exampleOf = map[string]string{"kind": `a name like "Deployment"`, "apiVersion": `a group and version like "apps/v1"`}

func (d *document) notManifest(at policies.Path, message, guess string) *Problem {
	s := &source{doc: d, beside: d.maybeSecret()}
	pos, _ := s.Locate(at, policies.AtKey)
	fix := "add apiVersion and kind, or take the file out of the paths to check"
	if guess != "" {
		message += ": this looks like " + guess
		fix = fixOf[guess]
	}
	return &Problem{Rule: RuleNotManifest, Message: message, Pos: pos, Fix: fix}
}

const (
	looksKustomization = "a kustomization"
	looksChart         = "a Helm chart's Chart.yaml"
	looksValues        = "values of a Helm chart"
	looksTemplate      = "a Helm or Go template"
	looksCompose       = "a Docker Compose file"
	looksWorkflow      = "a CI workflow"
)

var fixOf = map[string]string{
	looksKustomization: "check what it builds: kustomize build . | gitgate check -",
	looksChart:         "check what the chart renders: helm template . | gitgate check -",
	looksValues:        "check what the chart renders: helm template . | gitgate check -",
	looksTemplate:      "render it first: helm template . | gitgate check -",
	looksCompose:       "take the file out of the paths to check",
	looksWorkflow:      "take the file out of the paths to check",
}

// describe guesses what a document that is no manifest is; "" when nothing speaks for anything.
func describe(d *document, content map[string]any) string {
	has := func(keys ...string) bool {
		for _, k := range keys {
			if _, ok := content[k]; !ok {
				return false
			}
		}
		return true
	}
	base := d.file[strings.LastIndexByte(d.file, '/')+1:]
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml")
	switch {
	case strings.Contains(d.text, "{{"):
		return looksTemplate
	case strings.EqualFold(base, "kustomization"):
		return looksKustomization
	case base == "Chart" || has("name", "version", "apiVersion") || has("name", "version", "dependencies"):
		return looksChart
	case has("jobs", "on") || has("jobs", "true") || has("stages"): // YAML 1.1 reads the key `on` as true
		return looksWorkflow
	case has("services") && (has("version") || has("networks") || has("volumes") || strings.Contains(base, "compose")):
		return looksCompose
	case has("resources") && isList(content["resources"]) || has("bases") || has("patchesStrategicMerge") || has("configMapGenerator"):
		return looksKustomization
	case strings.HasPrefix(base, "values") || has("replicaCount") || has("image", "service"):
		return looksValues
	default:
		return ""
	}
}

func isList(v any) bool {
	_, ok := v.([]any)
	return ok
}

func whatIs(at policies.Path) string {
	if len(at) > 0 {
		return at.String()
	}
	return "document"
}

// nameOf says in words what sort of value v is.
func nameOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "empty"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		if v == "" {
			return "an empty string"
		}
		return "a string"
	case bool:
		return "a boolean"
	default:
		return "a number"
	}
}
