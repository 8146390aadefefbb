package kyverno

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// compiled is a rule, ready to judge. It is immutable.
type compiled struct {
	name          string
	match         *matcher
	exclude       *matcher
	context       []*entry
	preconditions *conditions
	body          *body
	standard      *standard // podSecurity; nil for other rules
	cel           *celRule  // nil for other rules
	message       string
	action        actions
	enforced      bool // by the rule or else the policy, overrides aside
	tolerates     bool // an update of what broke the rule before is let pass
}

// body is what a validation, or one round of a loop, asks.
type body struct {
	context       []*entry
	preconditions *conditions
	deny          *conditions
	pattern       any
	anyPattern    []any
	shape         *shape // of pattern, and of each anyPattern: nil when they have variables
	shapes        []*shape
	loops         []*loop
}

type loop struct {
	list   string
	scoped *bool
	body   *body
}

// actions is what a violation leads to, by namespace.
type actions struct {
	base      policies.Action
	overrides []actionOverride
}

type actionOverride struct {
	action     policies.Action
	namespaces []string
	selector   *selector
}

// compiler compiles the rules of one document.
type compiler struct {
	doc     *policies.Object
	queries *queries
	errs    []error

	environments environments
	made         bool // the rule is made by autogen: its places are those of the rule that it was made of
}

func (c *compiler) wrong(at policies.Path, aspect policies.Aspect, err error) {
	if !c.made {
		c.errs = append(c.errs, errorAt(c.doc, at, aspect, err))
	}
}

// referencePattern is $(…), which takes a value from elsewhere in the pattern.
var referencePattern = regexp.MustCompile(`(^|[^\\])\$\(.[^ ]*\)`)

// expressions compiles the variables of a document and refuses what is not supported in it.
func (c *compiler) expressions(at policies.Path, document any) {
	switch d := document.(type) {
	case string:
		for _, m := range variablePattern.FindAllStringSubmatch(d, -1) {
			expression, _ := expressionOf(m[2])
			if expression == "@" {
				c.wrong(at, policies.AtValue, errors.New("variable {{@}} is not supported: expected the path that it stands for"))
				continue
			}
			if err := c.queries.learn(expression); err != nil {
				c.wrong(at, policies.AtValue, err)
			}
		}
		if referencePattern.MatchString(d) {
			c.wrong(at, policies.AtValue, fmt.Errorf("reference %q is not supported: expected a variable, {{ … }}", shorten(d)))
		}
	case []any:
		for i, v := range d {
			c.expressions(at.Append(i), v)
		}
	case map[string]any:
		for _, k := range sortedKeys(d) {
			c.expressions(at.Append(k), k)
			c.expressions(at.Append(k), d[k])
		}
	}
}

// rule compiles a rule that is a validation. at is its place in the document.
func (c *compiler) rule(at policies.Path, r *rule, s *spec) *compiled {
	v := r.Validate
	out := &compiled{name: r.Name, message: v.Message, preconditions: r.Preconditions, tolerates: v.AllowExistingViolations == nil || *v.AllowExistingViolations}
	var errs []error
	if out.match, errs = newMatcher(c.doc, at.Append("match"), &r.Match); !c.made {
		c.errs = append(c.errs, errs...)
	}
	if out.exclude, errs = newMatcher(c.doc, at.Append("exclude"), r.Exclude); !c.made {
		c.errs = append(c.errs, errs...)
	}
	if out.exclude != nil {
		for _, f := range slices.Concat(out.exclude.any, out.exclude.all) {
			f.excludes = true
		}
	}
	out.context = c.entries(at.Append("context"), r.Context)
	c.conditions(at.Append("preconditions"), r.Preconditions)
	rulePath := at
	at = at.Append("validate")
	c.expressions(at.Append("message"), v.Message)
	out.action = c.actions(at, s, v)
	if out.enforced = strings.EqualFold(s.ValidationFailureAction, "Enforce"); v.FailureAction != "" {
		out.enforced = strings.EqualFold(v.FailureAction, "Enforce")
	}
	count := 0
	for _, has := range []bool{v.Pattern != nil, v.AnyPattern != nil, v.Deny != nil, v.PodSecurity != nil, v.Foreach != nil, v.CEL != nil} {
		if has {
			count++
		}
	}
	if count != 1 {
		c.wrong(at, policies.AtKey, fmt.Errorf("rule %s asks %d things: expected one of pattern, anyPattern, deny, foreach, podSecurity and cel", r.Name, count))
		return out
	}
	if len(r.CELPreconditions) > 0 && v.CEL == nil {
		c.wrong(rulePath.Append("celPreconditions"), policies.AtKey, fmt.Errorf("rule %s has celPreconditions: expected validate.cel with them", r.Name))
	}
	if v.CEL != nil {
		out.cel, out.tolerates = c.cel(rulePath, r), false
		return out
	}
	if v.PodSecurity != nil {
		out.standard = c.standard(at.Append("podSecurity"), v.PodSecurity)
		return out
	}
	out.body = c.body(at, &foreach{Pattern: v.Pattern, AnyPattern: v.AnyPattern, Deny: v.Deny, Foreach: v.Foreach})
	return out
}

func (c *compiler) body(at policies.Path, in *foreach) *body {
	out := &body{preconditions: in.Preconditions, pattern: in.Pattern, anyPattern: in.AnyPattern}
	out.context = c.entries(at.Append("context"), in.Context)
	c.conditions(at.Append("preconditions"), in.Preconditions)
	c.expressions(at.Append("pattern"), in.Pattern)
	c.expressions(at.Append("anyPattern"), []any(in.AnyPattern))
	if in.Pattern != nil && !hasVariables(in.Pattern) {
		out.shape = shapeOf(in.Pattern)
	}
	if !hasVariables([]any(in.AnyPattern)) {
		for _, p := range in.AnyPattern {
			out.shapes = append(out.shapes, shapeOf(p))
		}
	}
	if in.Deny != nil {
		if out.deny = in.Deny.Conditions; out.deny == nil {
			out.deny = &conditions{} // no conditions at all always hold
		}
		c.conditions(at.Append("deny", "conditions"), out.deny)
	}
	for i := range in.Foreach {
		f := &in.Foreach[i]
		at := at.Append("foreach", i)
		if strings.TrimSpace(f.List) == "" {
			c.wrong(at, policies.AtKey, fmt.Errorf("%s has no list: expected JMESPath", at))
			continue
		}
		if strings.Contains(f.List, "{{") {
			c.wrong(at.Append("list"), policies.AtValue, errors.New("list has a variable: expected JMESPath without braces"))
		} else if err := c.queries.learn(strings.TrimSpace(f.List)); err != nil {
			c.wrong(at.Append("list"), policies.AtValue, err)
		}
		if f.Pattern == nil && f.AnyPattern == nil && f.Deny == nil && f.Foreach == nil {
			c.wrong(at, policies.AtKey, fmt.Errorf("%s asks nothing: expected pattern, anyPattern, deny or foreach", at))
		}
		out.loops = append(out.loops, &loop{list: f.List, scoped: f.ElementScope, body: c.body(at, f)})
	}
	return out
}

// reserved are the names that every scope has.
var reserved = []string{"request", "images", "element", "elementIndex", "serviceAccountName", "serviceAccountNamespace"}

func (c *compiler) entries(at policies.Path, in []contextEntry) []*entry {
	var out []*entry
	for i := range in {
		e := &in[i]
		at := at.Append(i)
		switch {
		case e.Name == "":
			c.wrong(at, policies.AtKey, fmt.Errorf("%s has no name", at))
			continue
		case slices.Contains(reserved, e.Name):
			c.wrong(at.Append("name"), policies.AtValue, fmt.Errorf("context entry %s has a name that is taken", e.Name))
			continue
		}
		count := 0
		for _, has := range []bool{e.Variable != nil, e.ConfigMap != nil, e.APICall != nil, e.ImageRegistry != nil, e.GlobalReference != nil} {
			if has {
				count++
			}
		}
		if count != 1 {
			c.wrong(at, policies.AtKey, fmt.Errorf("context entry %s has %d sources: expected one of variable, configMap, apiCall, imageRegistry and globalReference", e.Name, count))
			continue
		}
		if v := e.Variable; v != nil {
			at := at.Append("variable")
			if v.Value == nil && v.JMESPath == "" && v.Default == nil {
				c.wrong(at, policies.AtKey, fmt.Errorf("variable %s has no value: expected value, jmesPath or default", e.Name))
			}
			c.expressions(at.Append("value"), v.Value)
			c.expressions(at.Append("default"), v.Default)
			c.expressions(at.Append("jmesPath"), v.JMESPath)
			if path := strings.TrimSpace(v.JMESPath); path != "" && !strings.Contains(path, "{{") {
				if err := c.queries.learn(path); err != nil {
					c.wrong(at.Append("jmesPath"), policies.AtValue, err)
				}
			}
		}
		if m := e.ConfigMap; m != nil {
			c.expressions(at.Append("configMap", "name"), m.Name)
			c.expressions(at.Append("configMap", "namespace"), m.Namespace)
		}
		out = append(out, &entry{contextEntry: *e, named: entryPattern(e.Name)})
	}
	return out
}

// actions reads failureAction and its overrides, those of the rule before those of the policy.
func (c *compiler) actions(at policies.Path, s *spec, v *validation) actions {
	var out actions
	soft := policies.Audit
	if s.EmitWarning != nil && *s.EmitWarning {
		soft = policies.Warn
	}
	read := func(text string, at policies.Path) policies.Action {
		switch text {
		case "Enforce", "enforce":
			if s.Admission != nil && !*s.Admission {
				return policies.Audit
			}
			return policies.Deny
		case "Audit", "audit", "":
			return soft
		default:
			c.wrong(at, policies.AtValue, fmt.Errorf("action %q: expected Enforce or Audit", text))
			return policies.Deny
		}
	}
	top := policies.Path{"spec"}
	out.base = read(s.ValidationFailureAction, top.Append("validationFailureAction"))
	if v.FailureAction != "" {
		out.base = read(v.FailureAction, at.Append("failureAction"))
	}
	list, place := s.ValidationFailureActionOverrides, top.Append("validationFailureActionOverrides")
	if len(v.FailureActionOverrides) > 0 {
		list, place = v.FailureActionOverrides, at.Append("failureActionOverrides")
	}
	for i, o := range list {
		selected, err := newSelector(o.NamespaceSelector)
		if err != nil {
			c.wrong(place.Append(i, "namespaceSelector"), policies.AtValue, err)
		}
		out.overrides = append(out.overrides, actionOverride{read(o.Action, place.Append(i, "action")), o.Namespaces, selected})
	}
	return out
}

// all lists the actions that a violation may lead to.
func (a actions) all() []policies.Action {
	out := []policies.Action{a.base}
	for _, o := range a.overrides {
		out = append(out, o.action)
	}
	return out
}

// of says what a violation in the namespace of a change leads to.
func (a actions) of(c *policies.Change) (policies.Action, *policies.NeedError) {
	namespace := namespaceOf(c)
	for _, o := range a.overrides {
		in := answer{yes: o.namespaces == nil && o.selector != nil}
		for _, pattern := range o.namespaces {
			in = in.either(answer{yes: matchesName(pattern, namespace)})
		}
		if o.selector != nil {
			f := &filterMatcher{namespaces: o.selector}
			in = in.both(f.holder(c, c.Subject(), false))
		}
		switch {
		case in.yes:
			return o.action, nil
		case in.need != nil:
			return a.base, in.need
		}
	}
	return a.base, nil
}
