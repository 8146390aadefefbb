package argocd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/desired/sandbox"
	"gitgate.dev/gitgate/policies"
)

// resourcesFinalizer makes Argo CD delete what an Application applied when it is deleted.
const resourcesFinalizer = "resources-finalizer.argocd.argoproj.io"

// Generate gives the Applications that the set makes, each placed at the set's template. What the controller adds and Git cannot
// know, the owner with its uid, is not in them. notes name generators that only a network could ask: what they would make is not
// among the Applications.
func (s *ApplicationSet) Generate(ctx context.Context, resolve Resolve) (applications []*policies.Object, notes []*kustomize.OpaqueError, err error) {
	g := &generating{ctx: ctx, set: s, resolve: resolve, world: &sandbox.World{Seed: 1}}
	if g.templates, err = g.sandbox(); err != nil {
		return nil, nil, s.at(policies.Path{"spec", "goTemplateOptions"}, err)
	}
	names := map[string]bool{}
	for i, generator := range s.Spec.Generators {
		field := policies.Path{"spec", "generators", i}
		made, err := g.generate(generator, field, nil, 0)
		var opaque *kustomize.OpaqueError
		if errors.As(err, &opaque) {
			notes = append(notes, opaque)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		tmpl := s.Spec.Template
		for _, body := range generator {
			if m, ok := body.(map[string]any); ok {
				if own, ok := m["template"].(map[string]any); ok {
					tmpl = overTemplate(tmpl, own)
				}
			}
		}
		for _, p := range made {
			content, err := g.application(tmpl, p)
			if err != nil {
				return nil, nil, err
			}
			o := policies.NewObject(content, s.object.Origin, fromTemplate{s.object}, nil)
			if names[o.Name] {
				return nil, nil, s.at(policies.Path{"spec", "template", "metadata", "name"}, fmt.Errorf("set makes two applications named %q", o.Name))
			}
			if names[o.Name] = true; len(names) > maxApplications {
				return nil, nil, s.at(field, fmt.Errorf("set makes more than %d applications", maxApplications))
			}
			applications = append(applications, o)
		}
	}
	for _, function := range g.world.Asked {
		notes = append(notes, &kustomize.OpaqueError{What: "what " + function + " gives to ApplicationSet " + s.Metadata.Name, Reason: "it is another one each time"})
	}
	return applications, notes, nil
}

// overTemplate puts the template of a generator over that of the set; what it leaves empty stays.
func overTemplate(under, top map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range top {
		switch v := value.(type) {
		case map[string]any:
			m, _ := out[key].(map[string]any)
			out[key] = overTemplate(m, v)
		case nil:
		case string:
			if v != "" {
				out[key] = v
			}
		case []any:
			if len(v) > 0 {
				out[key] = v
			}
		default:
			out[key] = v
		}
	}
	return out
}

// fromTemplate finds the fields of an Application in the template of the set that made it.
type fromTemplate struct{ set *policies.Object }

// Locate is policies.Source.
func (f fromTemplate) Locate(p policies.Path, at policies.Aspect) (policies.Position, int) {
	if len(p) > 0 && (p[0] == "metadata" || p[0] == "spec") {
		return f.set.Locate(policies.Path{"spec", "template"}.Append(p...), at), len(p)
	}
	return f.set.Locate(policies.Path{"kind"}, policies.AtValue), len(p)
}

// generating is the state of one Generate.
type generating struct {
	ctx       context.Context
	set       *ApplicationSet
	resolve   Resolve
	world     *sandbox.World
	templates *sandbox.Set
	parsed    map[string]string // names of templates by their texts
}

func (g *generating) sandbox() (*sandbox.Set, error) {
	missing := "default"
	for _, option := range g.set.Spec.GoTemplateOptions {
		value, ok := strings.CutPrefix(option, "missingkey=")
		if !ok || !slices.Contains([]string{"default", "invalid", "zero", "error"}, value) {
			return nil, fmt.Errorf("option %q: expected missingkey=error, missingkey=zero or missingkey=default", option)
		}
		missing = value
	}
	funcs := sandbox.Sprig(g.world)
	delete(funcs, "getHostByName")
	maps.Copy(funcs, template.FuncMap{
		"normalize": normalize,
		"slugify":   slugify,
		"toYaml": func(v any) (string, error) {
			text, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(text), "\n"), err
		},
		"fromYaml": func(text string) (map[string]any, error) {
			m := map[string]any{}
			return m, yaml.Unmarshal([]byte(text), &m)
		},
		"fromYamlArray": func(text string) ([]any, error) {
			a := []any{}
			return a, yaml.Unmarshal([]byte(text), &a)
		},
	})
	g.parsed = map[string]string{}
	return sandbox.New(g.ctx, sandbox.DefaultLimits(), funcs, missing).Without("include", "tpl"), nil
}

// application makes one Application.
func (g *generating) application(tmpl map[string]any, p params) (map[string]any, error) {
	field := policies.Path{"spec", "template"}
	replaced, err := g.replace(tmpl, field, p)
	if err != nil {
		return nil, err
	}
	app, _ := replaced.(map[string]any)
	meta, _ := app["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	if finalizers, _ := meta["finalizers"].([]any); len(finalizers) == 0 && !g.set.Spec.SyncPolicy.PreserveResourcesOnDeletion {
		meta["finalizers"] = []any{resourcesFinalizer}
	}
	out := map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": app["spec"]}
	if patch := g.set.Spec.TemplatePatch; patch != "" {
		at := policies.Path{"spec", "templatePatch"}
		text, err := g.text(patch, p)
		if err != nil {
			return nil, g.set.at(at, err)
		}
		var change map[string]any
		if err := yaml.Unmarshal([]byte(text), &change); err != nil {
			return nil, g.set.at(at, fmt.Errorf("patch cannot be read: %w", err))
		}
		mergePatch(out, change)
		if meta, _ = out["metadata"].(map[string]any); meta == nil {
			return nil, g.set.at(at, errors.New("patch takes the metadata away"))
		}
	}
	meta["namespace"] = g.set.Metadata.Namespace
	if name, _ := meta["name"].(string); name == "" {
		return nil, g.set.at(field.Append("metadata", "name"), errors.New("application has no name"))
	}
	return out, nil
}

// maxReplaceDepth bounds the levels of a template.
const maxReplaceDepth = 100

// replace fills in parameters in every text of v, keys of maps too.
func (g *generating) replace(v any, field policies.Path, p params) (any, error) {
	if len(field) > maxReplaceDepth {
		return nil, g.set.at(field, errors.New("template has too many levels"))
	}
	switch v := v.(type) {
	case string:
		text, err := g.text(v, p)
		if err != nil {
			return nil, g.set.at(field, err)
		}
		return text, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value, err := g.replace(v[key], field.Append(key), p)
			if err != nil {
				return nil, err
			}
			if key, err = g.text(key, p); err != nil {
				return nil, g.set.at(field.Append(key), err)
			}
			out[key] = value
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = g.replace(x, field.Append(i), p); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// text fills in parameters in one text.
func (g *generating) text(text string, p params) (string, error) {
	if g.ctx.Err() != nil {
		return "", context.Cause(g.ctx)
	}
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if !g.set.Spec.GoTemplate {
		return fill(text, p)
	}
	name, ok := g.parsed[text]
	if !ok {
		name = "t" + strconv.Itoa(len(g.parsed))
		if err := g.templates.Parse(name, text); err != nil {
			return "", fmt.Errorf("template cannot be parsed: %w", cleaned(err))
		}
		g.parsed[text] = name
	}
	out, err := g.templates.Execute(name, p)
	if err != nil {
		return "", fmt.Errorf("template cannot be executed: %w", cleaned(err))
	}
	return out.Text, nil
}

var ownName = regexp.MustCompile(`template: t[0-9]+:([0-9]+:)*( executing "t[0-9]+")? ?`)

// cleaned takes our name of a template out of an error.
func cleaned(err error) error {
	if cause := sandbox.Cause(err); cause != nil {
		return cause
	}
	return errors.New(ownName.ReplaceAllString(err.Error(), ""))
}

// maxFilled bounds a text with its parameters filled in.
const maxFilled = 1 << 20

// fill replaces {{name}} by a parameter; a name that is none stays.
func fill(text string, p params) (string, error) {
	var b strings.Builder
	for {
		from := strings.Index(text, "{{")
		if from < 0 {
			break
		}
		to := strings.Index(text[from:], "}}")
		if to < 0 {
			break
		}
		b.WriteString(text[:from])
		tag := text[from : from+to+2]
		if value, ok := p[strings.TrimSpace(tag[2:len(tag)-2])].(string); ok {
			b.WriteString(value)
		} else {
			b.WriteString(tag)
		}
		if text = text[from+to+2:]; b.Len() > maxFilled {
			return "", fmt.Errorf("text with its parameters has more than %d bytes", maxFilled)
		}
	}
	return b.String() + text, nil
}

var (
	notInSlug = regexp.MustCompile(`[^a-z0-9_-]+`)
	dashes    = regexp.MustCompile(`-+`)
)

// slugify makes a name for an address: the text, or its greatest length, whether to cut between words, and the text.
func slugify(args ...any) (string, error) {
	length, between := 50, false
	if len(args) == 0 || len(args) > 3 {
		return "", errors.New("slugify: expected a text, and before it a length and whether to cut between words")
	}
	if len(args) >= 2 {
		n, ok := args[0].(int)
		if !ok || n < 0 {
			return "", errors.New("slugify: expected a length first")
		}
		length = n
	}
	if len(args) == 3 {
		b, ok := args[1].(bool)
		if !ok {
			return "", errors.New("slugify: expected true or false second")
		}
		between = b
	}
	text, ok := args[len(args)-1].(string)
	if !ok {
		return "", errors.New("slugify: expected a text last")
	}
	for _, r := range text {
		if r > 127 {
			return "", errors.New("slugify: letters other than those of ASCII are not written as Argo CD does")
		}
	}
	text = strings.NewReplacer("&", "and", "@", "at", "'", "", `"`, "").Replace(strings.ToLower(strings.TrimSpace(text)))
	text = strings.Trim(dashes.ReplaceAllString(notInSlug.ReplaceAllString(text, "-"), "-"), "-_")
	if length == 0 || len(text) <= length {
		return text, nil
	}
	if !between {
		return strings.Trim(text[:length], "-_"), nil
	}
	cut := ""
	for word := range strings.SplitSeq(text, "-") {
		next := word
		if cut != "" {
			next = cut + "-" + word
		}
		if len(next) > length {
			break
		}
		cut = next
	}
	if cut == "" {
		cut = text[:length]
	}
	return cut, nil
}
