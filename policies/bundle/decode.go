package bundle

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// Decode reads the text of a gitgate.yaml. Its error joins one PositionError for everything that is wrong: YAML, unknown
// fields, wrong types, values that cannot be meant.
func Decode(file string, text []byte) (*Config, error) {
	c := &Config{File: file}
	object, err := oneDocument(file, text)
	if err != nil {
		return nil, err
	}
	c.object = object
	d := &decoder{object: object}
	d.value(nil, object.Map(), reflect.ValueOf(c).Elem())
	c.check(d)
	if len(d.errs) > 0 {
		return nil, joined(d.errs)
	}
	return c, nil
}

func oneDocument(file string, text []byte) (*policies.Object, error) {
	objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
	if len(problems) == 0 && len(objects) == 1 {
		return objects[0], nil
	}
	var errs []error
	for _, p := range problems {
		if p.Rule == manifest.RuleNotManifest {
			p.Message = fmt.Sprintf("no %s: expected one document with apiVersion: %s and kind: %s", FileName, APIVersion, KindName)
		}
		errs = append(errs, policies.ErrorAt(p.Pos, errors.New(p.Message)))
	}
	switch {
	case len(errs) > 0:
	case len(objects) == 0:
		errs = append(errs, policies.ErrorAt(policies.Position{File: file}, fmt.Errorf("is empty: expected apiVersion: %s and kind: %s", APIVersion, KindName)))
	default:
		errs = append(errs, policies.ErrorAt(objects[1].Locate(nil, policies.AtValue), errors.New("second document: expected one document in the file")))
	}
	return nil, joined(errs)
}

// decoder fills a struct from decoded YAML and notes what does not fit, and where.
type decoder struct {
	object *policies.Object
	errs   []error
}

func (d *decoder) fail(p policies.Path, at policies.Aspect, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if len(p) > 0 && at == policies.AtValue {
		err = fmt.Errorf("%s: %w", p, err)
	}
	d.errs = append(d.errs, policies.ErrorAt(d.object.Locate(p, at), err))
}

var (
	actionType = reflect.TypeFor[policies.Action]()
	timeType   = reflect.TypeFor[time.Time]()
)

func (d *decoder) value(p policies.Path, v any, into reflect.Value) {
	switch {
	case into.Kind() == reflect.Pointer:
		fresh := reflect.New(into.Type().Elem())
		d.value(p, v, fresh.Elem())
		into.Set(fresh)
	case into.Type() == actionType:
		if s, ok := d.text(p, v); ok {
			action, err := policies.ParseAction(s)
			if err != nil {
				d.fail(p, policies.AtValue, "%q is no action: expected deny, warn or audit", s)
			}
			into.Set(reflect.ValueOf(action))
		}
	case into.Type() == timeType:
		if s, ok := d.text(p, v); ok {
			day, err := time.ParseInLocation(time.DateOnly, s, time.UTC)
			if err != nil {
				d.fail(p, policies.AtValue, "%q is no date: expected YYYY-MM-DD, as in 2027-06-30", s)
			}
			into.Set(reflect.ValueOf(day))
		}
	case into.Kind() == reflect.String:
		if s, ok := d.text(p, v); ok {
			into.SetString(s)
		}
	case into.Kind() == reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			d.fail(p, policies.AtValue, "expected true or false, got %s", nameOf(v))
			return
		}
		into.SetBool(b)
	case into.Kind() == reflect.Int:
		n, ok := v.(int64)
		if !ok {
			d.fail(p, policies.AtValue, "expected a whole number, got %s", nameOf(v))
			return
		}
		into.SetInt(n)
	case into.Kind() == reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			d.fail(p, policies.AtValue, "expected a list, got %s", nameOf(v))
			return
		}
		items := reflect.MakeSlice(into.Type(), len(list), len(list))
		for i, item := range list {
			d.value(p.Append(i), item, items.Index(i))
		}
		into.Set(items)
	case into.Kind() == reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			d.fail(p, policies.AtValue, "expected a map, got %s", nameOf(v))
			return
		}
		d.fields(p, m, into)
	default:
		panic(fmt.Sprintf("bundle: no decoding of %s at %s", into.Type(), p))
	}
}

func (d *decoder) fields(p policies.Path, m map[string]any, into reflect.Value) {
	t := into.Type()
	var known []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		known = append(known, name)
		v, ok := m[name]
		switch {
		case ok:
			d.value(p.Append(name), v, into.Field(i))
		case t.Field(i).Tag.Get("gate") == "required":
			d.fail(p, policies.AtValue, "needs the field %s", name)
		}
	}
	for name := range m {
		if slices.Contains(known, name) {
			continue
		}
		where := ""
		if len(p) > 0 {
			where = " in " + p.String()
		}
		d.fail(p.Append(name), policies.AtKey, "unknown field %q%s: %s", name, where, expectedName(name, known))
	}
}

func (d *decoder) text(p policies.Path, v any) (string, bool) {
	s, ok := v.(string)
	switch {
	case !ok && isScalar(v):
		d.fail(p, policies.AtValue, "expected text, got %s: write it in quotes", nameOf(v))
	case !ok:
		d.fail(p, policies.AtValue, "expected text, got %s", nameOf(v))
	case s == "":
		d.fail(p, policies.AtValue, "is empty: give it a value or remove the field")
		return "", false
	}
	return s, ok
}

func isScalar(v any) bool {
	switch v.(type) {
	case bool, int64, float64:
		return true
	default:
		return false
	}
}

func nameOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text " + strconv.Quote(shortened(v))
	case bool:
		return fmt.Sprintf("%t", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	default:
		return fmt.Sprintf("the number %v", v)
	}
}

func shortened(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// expectedName ends the message about a name that does not exist: the nearest that does, or all.
func expectedName(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "expected one of " + strings.Join(known, ", ")
}

// nearest returns the one of known that name was most likely meant to be, or "".
func nearest(name string, known []string) string {
	if len(name) > 100 {
		return ""
	}
	best, least := "", max(1, len(name)/3)+1
	for _, k := range known {
		if distance := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); distance < least {
			best, least = k, distance
		}
	}
	return best
}

// joined joins errs in the order of their positions.
func joined(errs []error) error {
	slices.SortStableFunc(errs, func(a, b error) int {
		var pa, pb *policies.PositionError
		if !errors.As(a, &pa) || !errors.As(b, &pb) {
			return 0
		}
		return comparePositions(pa.Pos, pb.Pos)
	})
	return errors.Join(errs...)
}

func comparePositions(a, b policies.Position) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}
