package policies

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// hidden stands for a value that is not to be told.
const hidden = "***"

// shortestSecret is the length, in bytes, from which a value of a Secret is looked for in messages: a shorter one would tear
// ordinary words apart.
const shortestSecret = 3

// shortestLine is the length, in bytes, from which a single line of a value of several lines is looked for too.
const shortestLine = 8

// hideSecrets takes the values of the Secret that c is about out of what policies said of it, whoever wrote the message: no door
// and no report ever sees them.
func hideSecrets(c *Change, results []Result) {
	if subject := c.Subject(); subject.Kind.GroupKind() != (GroupKind{"", "Secret"}) {
		return
	}
	var values *strings.Replacer
	hide := func(s string) string {
		if s == "" {
			return s
		}
		if values == nil {
			values = secretValues(c.Object, c.Old)
		}
		return values.Replace(s)
	}
	for i := range results {
		r := &results[i]
		r.Finding.Violations, r.Finding.Evidence = slices.Clone(r.Finding.Violations), slices.Clone(r.Finding.Evidence)
		for j := range r.Finding.Violations {
			v := &r.Finding.Violations[j]
			v.Message, v.Fix = hide(v.Message), hide(v.Fix)
		}
		for j := range r.Finding.Evidence {
			r.Finding.Evidence[j].Value = hide(r.Finding.Evidence[j].Value)
		}
		r.Finding.Skipped, r.Missing = hide(r.Finding.Skipped), hide(r.Missing)
		if r.Err != nil {
			if text := r.Err.Error(); hide(text) != text {
				r.Err = &secretError{text: hide(text), err: r.Err}
			}
		}
	}
}

// secretError says err without a value. It still is what err is, but does not unwrap to it: that one has the value.
type secretError struct {
	text string
	err  error
}

func (e *secretError) Error() string { return e.text }

func (e *secretError) Is(target error) bool { return errors.Is(e.err, target) }

// secretValues replaces each value of the Secrets, in the forms that a message may have it in: as written, decoded, quoted, and
// line by line.
func secretValues(secrets ...*Object) *strings.Replacer {
	found := map[string]bool{}
	add := func(s string) {
		quoted := strconv.Quote(s)
		for _, form := range []string{s, strings.TrimSpace(s), quoted[1 : len(quoted)-1]} {
			if len(form) >= shortestSecret {
				found[form] = true
			}
		}
		if strings.Contains(s, "\n") {
			for line := range strings.Lines(s) {
				if line = strings.TrimSpace(line); len(line) >= shortestLine {
					found[line] = true
				}
			}
		}
	}
	for _, o := range secrets {
		if o == nil {
			continue
		}
		for _, content := range []map[string]any{o.Map(), o.Settled()} {
			for _, field := range []string{"data", "stringData"} {
				eachText(content[field], func(s string) {
					add(s)
					if field == "data" {
						if decoded, err := base64.StdEncoding.DecodeString(s); err == nil {
							add(string(decoded))
						}
					}
				})
			}
		}
	}
	forms := make([]string, 0, len(found))
	for form := range found {
		forms = append(forms, form)
	}
	slices.SortFunc(forms, func(a, b string) int {
		if n := len(b) - len(a); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, hidden)
	}
	return strings.NewReplacer(pairs...)
}

// eachText visits every scalar in v as text: a value that is no string is a mistake that messages quote all the more.
func eachText(v any, visit func(string)) {
	switch v := v.(type) {
	case string:
		visit(v)
	case int64:
		visit(strconv.FormatInt(v, 10))
	case float64:
		visit(strconv.FormatFloat(v, 'g', -1, 64))
	case map[string]any:
		for _, item := range v {
			eachText(item, visit)
		}
	case []any:
		for _, item := range v {
			eachText(item, visit)
		}
	}
}
