package rego

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
)

// metadata is what a METADATA block says that gitgate knows of. The fields of OPA's own (openpolicyagent.org, "Annotations")
// are title, description and related_resources; the others stand under custom.
type metadata struct {
	title       string
	description string
	url         string
	name        string // of the policy, for a package
	id          string // of the rule
	fix         string
	severity    policies.Severity
	controls    []string
	kinds       []policies.KindRule
	operations  []policies.Operation
	action      policies.Action
	hasAction   bool
	combine     bool
}

// over fills what m does not say from what is said farther away.
func (m metadata) over(outer metadata) metadata {
	pick := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	m.title, m.description, m.url = pick(m.title, outer.title), pick(m.description, outer.description), pick(m.url, outer.url)
	m.id, m.fix = pick(m.id, outer.id), pick(m.fix, outer.fix)
	m.severity = policies.Severity(pick(string(m.severity), string(outer.severity)))
	if m.controls == nil {
		m.controls = outer.controls
	}
	if m.kinds == nil {
		m.kinds = outer.kinds
	}
	if m.operations == nil {
		m.operations = outer.operations
	}
	if !m.hasAction {
		m.action, m.hasAction = outer.action, outer.hasAction
	}
	return m
}

// annotations reads the METADATA blocks of all sources: by rule (its own, then the document's), and by package (its own, then
// those of scope subpackages above it).
type annotations struct {
	all       sources
	documents map[string]metadata // "package.rule"
	packages  map[string]metadata
	below     map[string]metadata
	errs      []error
}

// The scopes of OPA's annotations.
const (
	scopePackage     = "package"
	scopeSubpackages = "subpackages"
	scopeDocument    = "document"
)

// readAnnotations has to be called before split gives rules other names.
func readAnnotations(all sources) *annotations {
	as := &annotations{all: all, documents: map[string]metadata{}, packages: map[string]metadata{}, below: map[string]metadata{}}
	for _, s := range all.inOrder() {
		path := packagePath(s.module.Package.Path)
		for _, a := range s.module.Annotations {
			switch a.Scope {
			case scopePackage:
				as.packages[path] = as.read(a)
			case scopeSubpackages:
				as.below[path] = as.read(a)
			}
		}
		for _, rule := range s.module.Rules {
			for _, a := range rule.Annotations {
				if a.Scope == scopeDocument {
					as.documents[path+"."+headName(rule.Head)] = as.read(a)
				}
			}
		}
	}
	return as
}

// ofRule is what is said of the definitions of a unit: the blocks over them, and the one for the whole document.
func (as *annotations) ofRule(p *pkg, u *unit) metadata {
	var m metadata
	for _, rule := range u.all {
		own := slices.Clone(rule.Annotations)
		slices.SortStableFunc(own, func(a, b *ast.Annotations) int { return b.Location.Row - a.Location.Row })
		for _, a := range own {
			if a.Scope != scopeDocument {
				m = m.over(as.read(a))
			}
		}
	}
	return m.over(as.documents[p.path+"."+u.name])
}

// ofPackage is what is said of a package.
func (as *annotations) ofPackage(path string) metadata {
	m := as.packages[path]
	for at := path; ; {
		m = m.over(as.below[at])
		i := strings.LastIndexByte(at, '.')
		if i < 0 {
			return m
		}
		at = at[:i]
	}
}

func (as *annotations) refuse(a *ast.Annotations, err error) {
	as.errs = append(as.errs, policies.ErrorAt(as.all.position(a.Location), fmt.Errorf("METADATA %w", err)))
}

var severityLine = regexp.MustCompile(`^#\s?severity:\s*["']?([A-Za-z]+)["']?\s*$`)

func (as *annotations) read(a *ast.Annotations) metadata {
	m := metadata{title: a.Title, description: strings.TrimSpace(a.Description)}
	if len(a.RelatedResources) > 0 {
		m.url = a.RelatedResources[0].Ref.String()
	}
	// OPA drops fields that it does not know. This one is written at the top often enough to be looked for.
	for n := a.Location.Row; n <= a.EndLoc().Row; n++ {
		if s := as.all[a.Location.File]; s != nil {
			if found := severityLine.FindStringSubmatch(s.line(n)); found != nil {
				as.severity(a, &m, found[1])
			}
		}
	}
	for _, key := range sortedKeys(a.Custom) {
		as.custom(a, &m, key, a.Custom[key])
	}
	return m
}

func (as *annotations) custom(a *ast.Annotations, m *metadata, key string, value any) {
	text := func() string {
		s, ok := value.(string)
		if !ok || s == "" {
			as.refuse(a, fmt.Errorf("custom.%s is %v, expected a text", key, value))
		}
		return s
	}
	switch key {
	case "severity":
		as.severity(a, m, text())
	case "name":
		if m.name = text(); strings.ContainsAny(m.name, " \t\n[]*?\\") {
			as.refuse(a, fmt.Errorf("custom.name is %q, expected a name without spaces, brackets and wildcards", m.name))
		}
	case "id":
		m.id = text()
	case "fix", "remediation":
		m.fix = strings.TrimSpace(text())
	case "url":
		m.url = text()
	case "controls":
		m.controls = as.texts(a, "custom.controls", value)
	case "action":
		action, err := policies.ParseAction(text())
		if err != nil {
			as.refuse(a, fmt.Errorf("custom.%w", err))
		}
		m.action, m.hasAction = action, true
	case "combine":
		combine, ok := value.(bool)
		if !ok {
			as.refuse(a, fmt.Errorf("custom.combine is %v, expected true or false", value))
		}
		m.combine = combine
	case "match":
		as.match(a, m, value)
	}
}

func (as *annotations) severity(a *ast.Annotations, m *metadata, text string) {
	switch s := policies.Severity(strings.ToLower(text)); s {
	case policies.Info, policies.Low, policies.Medium, policies.High, policies.Critical:
		m.severity = s
	default:
		as.refuse(a, fmt.Errorf("severity is %q, expected info, low, medium, high or critical", text))
	}
}

// texts reads a text or a list of texts.
func (as *annotations) texts(a *ast.Annotations, name string, value any) []string {
	if s, ok := value.(string); ok {
		value = []any{s}
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		as.refuse(a, fmt.Errorf("%s is %v, expected a list of texts", name, value))
		return nil
	}
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" {
			as.refuse(a, fmt.Errorf("%s has %v, expected texts", name, item))
			continue
		}
		out = append(out, s)
	}
	return out
}

func (as *annotations) match(a *ast.Annotations, m *metadata, value any) {
	fields, ok := value.(map[string]any)
	if !ok {
		as.refuse(a, errors.New("custom.match is no map, expected kinds and operations"))
		return
	}
	for _, key := range sortedKeys(fields) {
		switch key {
		case "kinds":
			list, ok := fields[key].([]any)
			if s, one := fields[key].(string); one {
				list, ok = []any{s}, true
			}
			if !ok || len(list) == 0 {
				as.refuse(a, fmt.Errorf("custom.match.kinds is %v, expected a list of kinds", fields[key]))
			}
			for _, item := range list {
				rules, err := kindRules(item)
				if err != nil {
					as.refuse(a, fmt.Errorf("custom.match.kinds: %w", err))
				}
				m.kinds = append(m.kinds, rules...)
			}
		case "operations":
			for _, s := range as.texts(a, "custom.match.operations", fields[key]) {
				switch op := policies.Operation(strings.ToUpper(s)); op {
				case policies.Create, policies.Update, policies.Delete, policies.Connect:
					m.operations = append(m.operations, op)
				default:
					as.refuse(a, fmt.Errorf("custom.match.operations has %q, expected CREATE, UPDATE, DELETE or CONNECT", s))
				}
			}
		default:
			as.refuse(a, fmt.Errorf("custom.match.%s is unknown, expected kinds or operations", key))
		}
	}
}

var versionName = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)

// kindRules reads a kind: Pod, Deployment.apps, apps/Deployment, apps/v1/Deployment, or a map with group (or apiGroups), version,
// kind (or kinds) and subresource. A kind without a group is that kind of every group.
func kindRules(item any) ([]policies.KindRule, error) {
	switch item := item.(type) {
	case string:
		parts := strings.Split(item, "/")
		rule := policies.KindRule{Group: "*", Kind: parts[len(parts)-1]}
		switch {
		case len(parts) == 1:
			if kind, group, ok := strings.Cut(item, "."); ok {
				rule.Kind, rule.Group = kind, group
			}
		case len(parts) == 2 && versionName.MatchString(parts[0]):
			rule.Group, rule.Version = "", parts[0]
		case len(parts) == 2:
			rule.Group = parts[0]
		case len(parts) == 3:
			rule.Group, rule.Version = parts[0], parts[1]
		default:
			return nil, fmt.Errorf("%q, expected a kind such as Pod, Deployment.apps or apps/v1/Deployment", item)
		}
		if rule.Kind == "" {
			return nil, fmt.Errorf("%q, expected a kind such as Pod, Deployment.apps or apps/v1/Deployment", item)
		}
		return []policies.KindRule{rule}, nil
	case map[string]any:
		list := func(keys ...string) ([]string, error) {
			for _, key := range keys {
				switch v := item[key].(type) {
				case nil:
				case string:
					return []string{v}, nil
				case []any:
					var out []string
					for _, e := range v {
						s, ok := e.(string)
						if !ok {
							return nil, fmt.Errorf("%s has %v, expected texts", key, e)
						}
						out = append(out, s)
					}
					return out, nil
				default:
					return nil, fmt.Errorf("%s is %v, expected a text or a list of texts", key, v)
				}
			}
			return nil, nil
		}
		groups, err1 := list("group", "apiGroups")
		versions, err2 := list("version", "versions")
		kinds, err3 := list("kind", "kinds")
		subresources, err4 := list("subresource")
		for key := range item {
			if !slices.Contains([]string{"group", "apiGroups", "version", "versions", "kind", "kinds", "subresource"}, key) {
				return nil, fmt.Errorf("%s is unknown, expected group, version, kind or subresource", key)
			}
		}
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return nil, err
		}
		if len(kinds) == 0 {
			return nil, errors.New("a map without kind, expected one")
		}
		var out []policies.KindRule
		for _, group := range orDefault(groups, "*") {
			for _, version := range orDefault(versions, "") {
				for _, kind := range kinds {
					for _, sub := range orDefault(subresources, "") {
						out = append(out, policies.KindRule{Group: group, Version: version, Kind: kind, Subresource: sub})
					}
				}
			}
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%v, expected a kind such as Pod, Deployment.apps or apps/v1/Deployment", item)
	}
}

func orDefault(list []string, value string) []string {
	if len(list) == 0 {
		return []string{value}
	}
	return list
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// firstLine is the first line of a text, for a message.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func joined(names []string) string { return strings.Join(names, ", ") }
