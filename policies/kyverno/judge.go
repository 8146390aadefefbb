package kyverno

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"github.com/kyverno/kyverno/pkg/engine/validate"

	"gitgate.dev/gitgate/policies"
)

// status is what became of a rule.
type status int

const (
	skipped status = iota // it has nothing to say
	passed
	failed
	errored // it could not judge
)

// verdict is the answer of a rule.
type verdict struct {
	status  status
	message string
	path    policies.Path
	err     error
	// condition says that the error is one of preconditions: a loop leaves such an element out.
	condition bool
	// silent says that Kyverno gives no answer at all in this case.
	silent bool
}

func broken(err error) verdict { return verdict{status: errored, err: err} }

// round is one evaluation of a body: of the rule itself, or of one element of a loop.
type round struct {
	rule    *compiled
	scope   *scope
	element map[string]any // what patterns are about; nil for the object itself
	outer   *round         // of the loop around; nil for none
	at      any            // the element
	known   policies.Path  // where the element stands in the object, when its list says so
	nesting int
}

// judge asks the body.
func (r round) judge(b *body) verdict {
	ok, _, err := r.scope.hold(b.preconditions)
	switch {
	case err != nil:
		return verdict{status: errored, err: fmt.Errorf("preconditions: %w", err), condition: !isNeed(err)}
	case !ok:
		return verdict{status: skipped, message: "preconditions are not met"}
	case b.deny != nil:
		return r.deny(b.deny)
	case b.pattern != nil || b.anyPattern != nil:
		return r.patterns(b)
	default:
		return r.loops(b)
	}
}

func (r round) deny(c *conditions) verdict {
	hold, message, err := r.scope.hold(c)
	if err != nil {
		return broken(fmt.Errorf("deny conditions: %w", err))
	}
	if !hold {
		return verdict{status: passed}
	}
	out := verdict{status: failed, path: r.blame(c)}
	text := join([]string{r.rule.message, message}, "; ")
	if text == "" {
		out.message = fmt.Sprintf("validation error: rule %s failed", r.rule.name)
		return out
	}
	if out.message, err = r.scope.fillText(text); err != nil {
		out.message = text
	}
	return out
}

func (r round) patterns(b *body) verdict {
	var resource any = r.element
	if r.element == nil {
		if r.scope.operation == string(policies.Delete) {
			return verdict{status: skipped, message: "it has no pattern for what is deleted", silent: true}
		}
		resource = r.scope.change.Object.Settled()
	}
	compare := func(p any, s *shape) (verdict, string, error) {
		if s == nil {
			filled, err := r.scope.substitute(p)
			if err != nil {
				return verdict{}, "", err
			}
			v, detail := r.pattern(resource, validate.MatchPattern(logr.Discard(), resource, filled))
			return v, detail, nil
		}
		v, detail := r.pattern(resource, s.match(resource))
		return v, detail, nil
	}
	if b.pattern != nil {
		v, _, err := compare(b.pattern, b.shape)
		if err != nil {
			return broken(fmt.Errorf("pattern: %w", err))
		}
		return v
	}
	skips, fails := 0, verdict{}
	var told []string
	for i, p := range b.anyPattern {
		var known *shape
		if len(b.shapes) > 0 {
			known = b.shapes[i]
		}
		v, detail, err := compare(p, known)
		if err != nil {
			return broken(fmt.Errorf("anyPattern[%d]: %w", i, err))
		}
		switch v.status {
		case passed:
			return v
		case skipped:
			skips++
		default:
			if fails.status == skipped {
				fails = verdict{status: failed, path: v.path}
			}
			told = append(told, fmt.Sprintf("rule %s[%d] failed%s", r.rule.name, i, detail))
		}
	}
	switch {
	case len(told) > 0:
		fails.message = r.message("validation error: "+strings.Join(told, " "), strings.Join(told, " "))
		return fails
	case skips > 0:
		return verdict{status: skipped, message: "the anchors of its patterns do not match"}
	default:
		return verdict{status: passed}
	}
}

// pattern is the verdict of Kyverno's own comparison of the resource with a pattern. detail says where they differ.
func (r round) pattern(resource any, err error) (v verdict, detail string) {
	if err == nil {
		return verdict{status: passed}, ""
	}
	pe, ok := err.(*validate.PatternError)
	switch {
	case !ok:
		return broken(err), ": " + err.Error()
	case pe.Skip:
		return verdict{status: skipped, message: pe.Error()}, ""
	case pe.Path == "":
		return broken(fmt.Errorf("pattern: %w", pe.Err)), ": " + pe.Error()
	}
	out := verdict{status: failed, path: r.place(resource, pe.Path)}
	out.message = r.message(fmt.Sprintf("validation error: rule %s failed at path %s", r.rule.name, pe.Path), pe.Error())
	return out, " at path " + pe.Path
}

// message is the policy's own, or without one the given one.
func (r round) message(without, why string) string {
	if r.rule.message == "" {
		return without
	}
	text, err := r.scope.fillText(r.rule.message)
	if err != nil {
		return fmt.Sprintf("validation error: variables substitution error in rule %s execution error: %s", r.rule.name, why)
	}
	return text
}

func (r round) loops(b *body) verdict {
	applied := 0
	var errList error
	for _, l := range b.loops {
		elements, at, err := r.elements(l.list)
		switch {
		case err != nil && isNeed(err):
			return broken(err)
		case err != nil && strings.Contains(err.Error(), "Unknown key"):
			continue
		case err != nil:
			errList = fmt.Errorf("list %s: %w", l.list, err)
			continue
		}
		v, count := r.loop(l, elements, at)
		if v.status != passed {
			return v
		}
		applied += count
	}
	switch {
	case applied > 0:
		return verdict{status: passed}
	case errList != nil:
		return broken(errList)
	default:
		return verdict{status: skipped, message: "its lists are empty", silent: true}
	}
}

// elements is what a list has. at says where in the object it is; nil when the expression does not say so.
func (r round) elements(list string) (elements []any, at policies.Path, err error) {
	v, at, err := r.scope.find(list)
	if err != nil {
		return nil, nil, err
	}
	switch l := v.(type) {
	case []any:
		return l, at, nil
	case []map[string]any:
		out := make([]any, len(l))
		for i, m := range l {
			out[i] = m
		}
		return out, nil, nil
	default:
		return []any{v}, nil, nil
	}
}

// loop asks the elements of a list at a place, up to the first that breaks the rule. count is how many were judged.
func (r round) loop(l *loop, elements []any, at policies.Path) (v verdict, count int) {
	for i, element := range elements {
		if element == nil {
			continue
		}
		inner, err := r.scope.inner(l.body.context)
		if err != nil {
			return broken(err), count
		}
		in := round{rule: r.rule, scope: inner, element: r.element, nesting: r.nesting + 1, outer: &r, at: element}
		if at != nil {
			in.known = at.Append(i)
		}
		in.scope.setElement(element, i, r.nesting)
		m, isMap := element.(map[string]any)
		switch {
		case l.scoped != nil && *l.scoped && !isMap:
			return broken(fmt.Errorf("foreach of %s: elementScope is true, and an element is no map", l.list)), count
		case isMap && (l.scoped == nil || *l.scoped):
			in.element = m
		}
		switch v := in.judge(l.body); {
		case v.status == skipped || v.status == errored && v.condition:
		case v.status == passed:
			count++
		default:
			if v.path == nil {
				v.path = in.base()
			}
			return v, count
		}
	}
	return verdict{status: passed}, count
}

// base returns where the element stands in the object; nil for one that an expression made, and without one. It may look everywhere: for what is
// told only.
func (r round) base() policies.Path {
	m, ok := r.at.(map[string]any)
	if !ok || r.scope.change.Object == nil {
		return nil
	}
	if r.known != nil {
		return r.known
	}
	target := reflect.ValueOf(m).Pointer()
	for o := r.outer; o != nil; o = o.outer {
		if at := o.base(); at != nil {
			if found := findMap(o.at, target, at); found != nil {
				return found
			}
		}
	}
	return findMap(untyped(r.scope.change.Object), target, nil)
}

func findMap(in any, target uintptr, at policies.Path) policies.Path {
	switch v := in.(type) {
	case map[string]any:
		if len(at) > 0 && reflect.ValueOf(v).Pointer() == target {
			return at
		}
		for k, item := range v {
			if found := findMap(item, target, at.Append(k)); found != nil {
				return found
			}
		}
	case []any:
		for i, item := range v {
			if found := findMap(item, target, at.Append(i)); found != nil {
				return found
			}
		}
	}
	return nil
}

// place turns the path of Kyverno's comparison, /spec/containers/0/image/, into one of the object.
func (r round) place(resource any, path string) policies.Path {
	steps := strings.Split(strings.Trim(path, "/"), "/")
	var out policies.Path
	for len(steps) > 0 && steps[0] != "" {
		switch v := resource.(type) {
		case []any:
			i, err := strconv.Atoi(steps[0])
			if err != nil || i < 0 || i >= len(v) {
				steps = nil
				continue
			}
			out, resource, steps = out.Append(i), v[i], steps[1:]
		case map[string]any:
			n := 1
			for n < len(steps) && !hasKey(v, strings.Join(steps[:n], "/")) {
				n++ // a key may have slashes of its own
			}
			key := strings.Join(steps[:n], "/")
			if !hasKey(v, key) {
				key, n = steps[0], 1
			}
			out, resource, steps = out.Append(key), v[key], steps[n:]
		default:
			steps = nil
		}
	}
	if r.element != nil {
		base := r.base()
		if base == nil {
			return nil
		}
		return base.Append(out...)
	}
	return out
}

func hasKey(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

var blamePattern = regexp.MustCompile(`^\{\{-?\s*(request\.object|element)\.([A-Za-z0-9_.]+[A-Za-z0-9_])`)

// blame returns the field that the first condition with a plain path looks at; nil when there is none.
func (r round) blame(c *conditions) policies.Path {
	for _, list := range [][]condition{c.Any, c.All, c.Old} {
		for i := range list {
			key, _ := list[i].Key.(string)
			m := blamePattern.FindStringSubmatch(key)
			if m == nil {
				continue
			}
			var out policies.Path
			if m[1] == "element" {
				if out = r.base(); out == nil {
					continue
				}
			}
			for _, step := range strings.Split(m[2], ".") {
				out = out.Append(step)
			}
			return out
		}
	}
	return nil
}
