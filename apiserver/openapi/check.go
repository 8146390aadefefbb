package openapi

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"k8s.io/apimachinery/pkg/api/resource"

	"gitgate.dev/gitgate/policies"
)

// maxFound bounds what is said of one object: a map of a million wrong values is told from its beginning.
const maxFound = 100

// Check says where content, an object of kind k as it was written, has another form than v gives that kind: unknown fields, values
// of another type than the API server can decode, and items of a list that have one key. Null is taken for nothing, as the API
// server does. native is the version whose own code judges the object besides: v's list of allowed values is asked where the two
// differ, and a field is missed only in what native does not know, because OpenAPI calls many a field required that the API server
// does not ask for. A native of nil knows nothing.
func (v *Version) Check(k *Kind, content map[string]any, native *Version) []policies.Violation {
	c := checker{version: v, types: v.types(), kind: k}
	var known *shape
	if native != nil {
		c.nativeTypes = native.types()
		if native.Kind(k.GroupVersionKind) != nil {
			known = c.nativeTypes[k.shape]
		}
	}
	c.structure(c.types[k.shape], known, content)
	return c.found
}

type checker struct {
	version     *Version
	kind        *Kind
	types       []*shape
	nativeTypes []*shape
	path        policies.Path // of the value looked at
	found       []policies.Violation
}

func (c *checker) say(v policies.Violation) {
	if len(c.found) < maxFound {
		v.Path = slices.Clone(v.Path)
		c.found = append(c.found, v)
	}
}

func (c *checker) push(step any) { c.path = append(c.path, step) }
func (c *checker) pop()          { c.path = c.path[:len(c.path)-1] }

// structure checks the fields of a struct. known is the same struct in the native version, nil when that has none.
func (c *checker) structure(s, known *shape, content map[string]any) {
	for _, name := range sortedKeys(content) {
		m := s.member(name)
		c.push(name)
		if m == nil {
			c.unknown(s, name)
		} else if content[name] != nil {
			var old *form
			if known != nil {
				if om := known.member(name); om != nil {
					old = om.form
				}
			}
			c.value(m.form, old, content[name])
		}
		c.pop()
	}
	if known != nil || len(c.path) > 0 && c.path[0] == "status" {
		return
	}
	for _, m := range s.read() {
		if m.required && content[m.name] == nil && !(len(c.path) == 0 && m.name == "status") {
			path := c.path.Append(m.name)
			c.say(policies.Violation{Rule: "required", Path: path, Message: fmt.Sprintf("field %s is missing, expected %s", path, m.form.describe())})
		}
	}
}

// value checks one value, which is not null. old is its form in the native version, nil when that does not know it.
func (c *checker) value(f, old *form, value any) {
	if old != nil && old.sort != f.sort {
		old = nil
	}
	switch f.sort {
	case structure:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(f, value)
			return
		}
		var known *shape
		if old != nil {
			known = c.nativeTypes[old.shape]
		}
		c.structure(c.types[f.shape], known, m)
	case mapping:
		m, ok := value.(map[string]any)
		if !ok {
			c.wrong(f, value)
			return
		}
		if f.item.sort == anything {
			return
		}
		for _, name := range sortedKeys(m) {
			if m[name] != nil {
				c.push(name)
				c.value(f.item, itemOf(old), m[name])
				c.pop()
			}
		}
	case list:
		l, ok := value.([]any)
		if !ok {
			c.wrong(f, value)
			return
		}
		for i, item := range l {
			if item != nil {
				c.push(i)
				c.value(f.item, itemOf(old), item)
				c.pop()
			}
		}
		c.duplicates(f, l)
	default:
		if why := misfit(f.sort, value); why != "" {
			c.say(policies.Violation{Rule: "type", Path: c.path, Message: fmt.Sprintf("field %s is %s, expected %s", c.path, why, f.describe())})
			return
		}
		c.enum(f, old, value)
	}
}

func itemOf(f *form) *form {
	if f == nil {
		return nil
	}
	return f.item
}

func (c *checker) wrong(f *form, value any) {
	c.say(policies.Violation{Rule: "type", Path: c.path, Message: fmt.Sprintf("field %s is %s, expected %s", c.path, name(value), f.describe())})
}

// unknown says that the struct s has no field of the name that c.path ends with.
func (c *checker) unknown(s *shape, name string) {
	v := policies.Violation{Rule: "unknown-field", Path: c.path, At: policies.AtKey}
	where := fmt.Sprintf("%s %s", c.kind.APIVersion(), c.kind.Kind)
	if since := s.since(name); since != "" {
		v.Message = fmt.Sprintf("field %s of %s is not in Kubernetes %s, %s", c.path, where, c.version.Minor, since)
	} else {
		v.Message = fmt.Sprintf("field %s is unknown to %s", c.path, where)
		if near := s.nearest(name); near != "" {
			v.Fix = fmt.Sprintf("did you mean %s?", near)
		}
	}
	c.say(v)
}

// since says where a field is that this version of the struct does not have, "" when no version has it.
func (s *shape) since(name string) string {
	for line := range strings.SplitSeq(s.text, "\n") {
		f := strings.Split(line, "\t")
		if f[0] != name || len(f) < 3 {
			continue
		}
		mask := uint8(number(f[2]))
		for i, r := range kinds().releases {
			if bit := uint8(1) << i; mask&bit != 0 && bit > s.bit {
				return "only since " + r.Minor
			}
		}
		return "it was in earlier versions"
	}
	return ""
}

// nearest is the field of s that name is most likely a misspelling of, or "".
func (s *shape) nearest(name string) string {
	best, distance := "", 1+min(2, len(name)/3)
	for _, m := range s.read() {
		if strings.EqualFold(m.name, name) {
			return m.name
		}
		if d := levenshtein.ComputeDistance(m.name, name); d < distance {
			best, distance = m.name, d
		}
	}
	return best
}

// enum says that a value is not among those that v allows, where the native code would not say the same.
func (c *checker) enum(f, old *form, value any) {
	s, ok := value.(string)
	if !ok || f.enum == nil || slices.Contains(f.enum, s) {
		return
	}
	if old != nil && !slices.Contains(old.enum, s) {
		return
	}
	c.say(policies.Violation{Rule: "enum", Path: c.path, Message: fmt.Sprintf("field %s is %q, expected %s in Kubernetes %s", c.path, s, oneOf(f.enum), c.version.Minor)})
}

// duplicates says which items of a list repeat an earlier one.
func (c *checker) duplicates(f *form, l []any) {
	if !f.set && f.keys == nil || len(l) < 2 {
		return
	}
	first := make(map[string]int, len(l))
	for i, item := range l {
		id, text, ok := identity(f, item)
		if !ok {
			continue
		}
		j, seen := first[id]
		if !seen {
			first[id] = i
			continue
		}
		at := c.path.Append(i)
		if len(f.keys) == 1 {
			at = append(at, f.keys[0].name)
		}
		c.say(policies.Violation{Rule: "duplicate", Path: at,
			Message: fmt.Sprintf("%s is a duplicate, server-side apply refuses the list: %s is also item %d", at, text, j)})
	}
}

// identity is what tells an item of a list apart, and its text for people. ok is false for an item of the wrong form, or without
// its key, of which other rules speak.
func identity(f *form, item any) (id, text string, ok bool) {
	if f.set {
		s := fmt.Sprint(item)
		return s, strconv.Quote(cut(s)), scalar(item)
	}
	m, isMap := item.(map[string]any)
	if !isMap {
		return "", "", false
	}
	var ids, texts []string
	for _, k := range f.keys {
		v := m[k.name]
		if v == nil {
			if k.preset == "" {
				return "", "", false
			}
			v = k.preset
		}
		if !scalar(v) {
			return "", "", false
		}
		s := fmt.Sprint(v)
		ids = append(ids, strconv.Quote(s))
		texts = append(texts, k.name+" "+cut(s))
	}
	if len(f.keys) == 1 {
		texts[0] = strconv.Quote(cut(fmt.Sprint(m[f.keys[0].name])))
	}
	return strings.Join(ids, ","), strings.Join(texts, " and "), true
}

func scalar(v any) bool {
	switch v.(type) {
	case string, int64, float64, bool:
		return true
	}
	return false
}

// misfit says what value is when the API server cannot decode it into sort s, "" when it can.
func misfit(s sort, value any) string {
	str, isString := value.(string)
	switch s {
	case anything:
		return ""
	case text:
		if isString {
			return ""
		}
	case boolean:
		if _, ok := value.(bool); ok {
			return ""
		}
	case int32Number, int64Number:
		return misfitNumber(s, value)
	case floatNumber:
		switch value.(type) {
		case int64, float64:
			return ""
		}
	case intOrString:
		if isString {
			return ""
		}
		return misfitNumber(int32Number, value)
	case quantity:
		switch n := value.(type) {
		case int64:
			return ""
		case float64:
			str, isString = strconv.FormatFloat(n, 'f', -1, 64), true
		}
		if isString {
			if _, err := resource.ParseQuantity(strings.TrimSpace(str)); err != nil {
				return strconv.Quote(cut(str))
			}
			return ""
		}
	case timestamp:
		if isString {
			if _, err := time.Parse(time.RFC3339, str); err != nil {
				return strconv.Quote(cut(str))
			}
			return ""
		}
	case base64Text:
		if isString {
			if _, err := base64.StdEncoding.DecodeString(str); err != nil {
				return "no base64 text"
			}
			return ""
		}
	}
	return name(value)
}

func misfitNumber(s sort, value any) string {
	switch n := value.(type) {
	case int64:
		if s == int32Number && (n < math.MinInt32 || n > math.MaxInt32) {
			return strconv.FormatInt(n, 10)
		}
		return ""
	case float64:
		if s == int32Number && n == math.Trunc(n) && n >= math.MinInt32 && n <= math.MaxInt32 {
			return ""
		}
		if s == int64Number && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return ""
		}
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	return name(value)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
