package policytest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/strict"
)

const suiteGroup = "test.gatekeeper.sh"

// Trial is a Gatekeeper template with one constraint.
type Trial interface {
	// Review returns the messages of all violations of an object, or of the request in an AdmissionReview, with inventory beside it. Its
	// error says why it cannot be told.
	Review(ctx context.Context, object *policies.Object, inventory []*policies.Object) ([]string, error)
}

// NewTrial compiles a template, a constraint and, mostly none, ExpansionTemplates. badConstraint says that the error is that the
// constraint breaks the schema of its template.
type NewTrial func(ctx context.Context, template, constraint *policies.Object, expansions []*policies.Object) (t Trial, badConstraint bool, err error)

// suiteDocument is a Suite as gator reads it (gatekeeper pkg/gator/verify).
type suiteDocument struct {
	Skip  bool        `json:"skip"`
	Tests []suiteTest `json:"tests"`
}

type suiteTest struct {
	Name       string      `json:"name"`
	Template   string      `json:"template"`
	Constraint string      `json:"constraint"`
	Expansion  string      `json:"expansion"`
	Invalid    bool        `json:"invalid"`
	Skip       bool        `json:"skip"`
	Cases      []suiteCase `json:"cases"`
}

type suiteCase struct {
	Name       string           `json:"name"`
	Object     string           `json:"object"`
	Inventory  []string         `json:"inventory"`
	Assertions []suiteAssertion `json:"assertions"`
	Skip       bool             `json:"skip"`
}

type suiteAssertion struct {
	Violations any     `json:"violations"` // "yes", "no" or a number; nil is "yes"
	Message    *string `json:"message"`
}

// gatekeeperSuite is one Suite under test.
type gatekeeperSuite struct {
	o    *Options
	file string
	doc  *policies.Object
	read map[string]readObjects
}

type readObjects struct {
	objects []*policies.Object
	err     error
}

// gatekeeperSuiteOf runs what o.Run wants of a Suite: a result for each case, and for a test that has none or could not be run.
func gatekeeperSuiteOf(ctx context.Context, o *Options, doc *policies.Object) []Result {
	s := &gatekeeperSuite{o: o, file: doc.Origin.File, doc: doc, read: map[string]readObjects{}}
	var d suiteDocument
	if usable, errs := strict.Decode(doc, nil, doc.Map(), &d, strict.Options{}); !usable {
		r := s.result(policies.Path{"kind"}, "", "", Errored, nil)
		r.Problems = problemsOf(s.file, errors.Join(errs...))
		return []Result{r}
	}
	if d.Skip || len(d.Tests) == 0 {
		r := s.result(policies.Path{"kind"}, "", "", Skipped, nil)
		if !d.Skip {
			r.Problems = []Problem{{r.Pos, "suite has no tests: nothing was compared"}}
		}
		return []Result{r}
	}
	var out []Result
	for i := range d.Tests {
		if ctx.Err() != nil {
			break
		}
		out = append(out, s.test(ctx, policies.Path{"tests", i}, &d.Tests[i])...)
	}
	return out
}

// result is one at a place of the suite; err, if there is one, is its problem.
func (s *gatekeeperSuite) result(at policies.Path, test, one string, outcome Outcome, err error) Result {
	r := Result{Sort: "gatekeeper", Name: s.file, Pos: s.doc.Locate(at, policies.AtKey), Outcome: outcome, Test: test, Case: one}
	if test != "" || one != "" {
		r.Name += ":" + strings.TrimSuffix(test+"/"+one, "/")
	}
	if err != nil {
		for _, p := range problemsOf(s.file, err) {
			if p.Pos.Line == 0 {
				p.Pos = r.Pos
			}
			r.Problems = append(r.Problems, p)
		}
	}
	return r
}

func (s *gatekeeperSuite) test(ctx context.Context, at policies.Path, t *suiteTest) []Result {
	whole := func(outcome Outcome, err error) []Result { return []Result{s.result(at, t.Name, "", outcome, err)} }
	wanted := make([]bool, len(t.Cases))
	none := true
	for i := range t.Cases {
		wanted[i] = s.o.Run.matches(s.result(at, t.Name, t.Cases[i].Name, Skipped, nil))
		none = none && !wanted[i]
	}
	switch {
	case none && !s.o.Run.matches(whole(Skipped, nil)[0]):
		return nil
	case t.Skip:
		return whole(Skipped, nil)
	}
	trial, bad, err := s.trial(ctx, at, t)
	switch {
	case t.Invalid && bad:
		return whole(Passed, nil)
	case t.Invalid && err == nil:
		return whole(Failed, errors.New("expected the constraint to break the schema of its template, it does not"))
	case t.Invalid:
		return whole(Errored, fmt.Errorf("expected the constraint to break the schema of its template, got another error: %w", err))
	case err != nil:
		return whole(Errored, err)
	case len(t.Cases) == 0:
		return whole(Skipped, errors.New("test has no cases: template and constraint compile, nothing was compared"))
	}
	var out []Result
	for i := range t.Cases {
		c, at := &t.Cases[i], at.Append("cases", i)
		switch {
		case !wanted[i]:
		case c.Skip:
			out = append(out, s.result(at, t.Name, c.Name, Skipped, nil))
		default:
			outcome, err := s.one(ctx, trial, at, c)
			out = append(out, s.result(at, t.Name, c.Name, outcome, err))
		}
	}
	return out
}

// trial compiles what a test is about.
func (s *gatekeeperSuite) trial(ctx context.Context, at policies.Path, t *suiteTest) (_ Trial, bad bool, err error) {
	template, err := s.first(at, "template", t.Template)
	if err != nil {
		return nil, false, err
	}
	constraint, err := s.first(at, "constraint", t.Constraint)
	if err != nil {
		return nil, false, err
	}
	var expansions []*policies.Object
	if t.Expansion != "" {
		if expansions, err = s.objects(t.Expansion); err != nil {
			return nil, false, err
		}
	}
	return s.o.Gatekeeper(ctx, template, constraint, expansions)
}

// first is the first document of a file that a test names, as gator takes it.
func (s *gatekeeperSuite) first(at policies.Path, field, name string) (*policies.Object, error) {
	if name == "" {
		return nil, policies.ErrorAt(s.doc.Locate(at, policies.AtKey), fmt.Errorf("test has no %s: expected the path of a file", field))
	}
	objects, err := s.objects(name)
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}

// objects reads the documents of a file, of which there is at least one.
func (s *gatekeeperSuite) objects(name string) ([]*policies.Object, error) {
	file := path.Join(path.Dir(s.file), name)
	known, ok := s.read[file]
	if !ok {
		known.objects, known.err = readManifest(file)
		s.read[file] = known
	}
	return known.objects, known.err
}

func readManifest(file string) ([]*policies.Object, error) {
	text, err := Read(file)
	if err != nil {
		return nil, err
	}
	objects, problems := manifest.Decode(file, text, manifest.DefaultLimits())
	var errs []error
	for _, p := range problems {
		errs = append(errs, policies.ErrorAt(p.Pos, errors.New(p.Message)))
	}
	if len(objects) == 0 && len(errs) == 0 {
		errs = append(errs, policies.ErrorAt(policies.Position{File: file, Line: 1}, errors.New("file has no object: expected one")))
	}
	return objects, errors.Join(errs...)
}

// one runs a case.
func (s *gatekeeperSuite) one(ctx context.Context, trial Trial, at policies.Path, c *suiteCase) (Outcome, error) {
	switch {
	case c.Object == "":
		return Errored, errors.New("case has no object: expected the path of a file")
	case len(c.Assertions) == 0:
		return Errored, errors.New("case has no assertions: expected at least one")
	}
	objects, err := s.objects(c.Object)
	if err != nil {
		return Errored, err
	}
	if len(objects) != 1 {
		return Errored, policies.ErrorAt(objects[1].Locate(policies.Path{"kind"}, policies.AtValue), fmt.Errorf("file of a case has %d objects: expected one", len(objects)))
	}
	var inventory []*policies.Object
	for _, name := range c.Inventory {
		more, err := s.objects(name)
		if err != nil {
			return Errored, err
		}
		inventory = append(inventory, more...)
	}
	assertions := make([]assertion, len(c.Assertions))
	for i, a := range c.Assertions {
		if assertions[i], err = newAssertion(a); err != nil {
			return Errored, policies.ErrorAt(s.doc.Locate(at.Append("assertions", i), policies.AtKey), err)
		}
	}
	messages, err := trial.Review(ctx, objects[0], inventory)
	if err != nil {
		return Errored, err
	}
	for i, a := range assertions {
		if problem := a.compare(messages); problem != "" {
			return Failed, policies.ErrorAt(s.doc.Locate(at.Append("assertions", i), policies.AtKey), errors.New(problem))
		}
	}
	return Passed, nil
}

// assertion is what is said of the violations whose message matches: their number, or between which numbers it is.
type assertion struct {
	message     *regexp.Regexp // nil matches every one
	least, most int
	text        string
}

const unbounded = int(^uint(0) >> 1)

func newAssertion(a suiteAssertion) (out assertion, err error) {
	if a.Message != nil {
		if out.message, err = regexp.Compile(*a.Message); err != nil {
			return out, fmt.Errorf("message %q is no regular expression: %w", *a.Message, err)
		}
	}
	wrong := func() error {
		return fmt.Errorf("violations %v: expected yes, no or a number that is not negative", a.Violations)
	}
	switch v := a.Violations.(type) {
	case nil:
		out.least, out.most, out.text = 1, unbounded, "at least one"
	case bool: // yes and no are booleans in YAML
		if out.text = "no"; v {
			out.least, out.most, out.text = 1, unbounded, "at least one"
		}
	case string:
		switch v {
		case "yes":
			out.least, out.most, out.text = 1, unbounded, "at least one"
		case "no":
			out.text = "no"
		default:
			return out, wrong()
		}
	case float64:
		if v < 0 || v != float64(int32(v)) {
			return out, wrong()
		}
		out.least, out.most, out.text = int(v), int(v), strconv.Itoa(int(v))
	default:
		return out, wrong()
	}
	return out, nil
}

// compare says in which way messages are not what a asserts, or "".
func (a assertion) compare(messages []string) string {
	n := 0
	for _, m := range messages {
		if a.message == nil || a.message.MatchString(m) {
			n++
		}
	}
	if n >= a.least && n <= a.most {
		return ""
	}
	what := "violations"
	if a.message != nil {
		what = fmt.Sprintf("violations that match %q", a.message)
	}
	got := "no violation at all"
	if len(messages) > 0 {
		quoted := make([]string, 0, len(messages))
		for _, m := range messages[:min(len(messages), maxShown)] {
			quoted = append(quoted, strconv.Quote(strict.Shorten(m)))
		}
		got = strings.Join(quoted, ", ")
	}
	return fmt.Sprintf("expected %s %s, got %d: %s", a.text, what, n, got)
}

// maxShown is how many violations a failure tells.
const maxShown = 10
