// Package sandbox executes Go templates that strangers wrote, at a bounded cost, and knows which text of a template each byte of
// the output comes from. text/template can neither be interrupted nor bounded, so loops, calls and output are counted here; what
// a function could blow up is estimated before it is called. It knows neither Helm nor Argo CD: their functions are given to it.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

// Limits bound an execution of all templates of a Set together.
type Limits struct {
	Steps  int64 // loops, calls and pieces of output
	Bytes  int64 // all that functions read and write
	Value  int64 // one value that a function reads or writes
	Output int64 // what one template writes
	Text   int   // the text of one template
}

// DefaultLimits are far above what charts need, and far below what hurts.
func DefaultLimits() Limits {
	return Limits{Steps: 3_000_000, Bytes: 256 << 20, Value: 8 << 20, Output: 16 << 20, Text: 5 << 20}
}

// LimitError says that templates cost more than they may.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return "templates cost too much: " + e.What }

const (
	maxActions = 50_000 // in one template: each can be a level of nesting, and so of the stack
	maxNesting = 30_000 // levels of nesting of all templates that are being executed
	maxInclude = 1000   // of one template in itself, as Helm
)

// Set is templates that can refer to each other. It is used by one goroutine.
type Set struct {
	ctx     context.Context
	limits  Limits
	root    *template.Template
	funcs   template.FuncMap
	methods map[string]int64
	places  []Place
	steps   int64
	bytes   int64
	depth   int
	nested  map[string]int
	frames  []*frame
}

// Place is a piece of a template.
type Place struct {
	Template string // the name that the template was added under
	Offset   int    // in its text
	Literal  bool   // its text is written as it stands; an action otherwise
}

// Mark says where the output from Output on comes from, up to the next mark.
type Mark struct {
	Output int
	Place
}

// Output is what a template wrote.
type Output struct {
	Text  string
	Marks []Mark // by Output, ascending
}

// New makes an empty set. funcs are besides the functions of text/template; include and tpl are made here. missingKey is the
// option of text/template: "zero", "error", "default".
func New(ctx context.Context, limits Limits, funcs template.FuncMap, missingKey string) *Set {
	s := &Set{ctx: ctx, limits: limits, nested: map[string]int{}}
	s.root = template.New("gotpl").Option("missingkey=" + missingKey)
	s.funcs = s.guard(funcs)
	maps.Copy(s.funcs, s.guard(builtins()))
	s.funcs["include"], s.funcs["tpl"] = s.include(s.root), s.tpl(s.root, missingKey)
	s.root.Funcs(s.funcs).Funcs(template.FuncMap{tick: s.tick, out: s.out, enter: s.enter, leave: s.leave, charge: s.charge})
	return s
}

// The functions that instrument adds calls of. A template cannot name them: they are not there when it is parsed.
const (
	tick   = "_tick"
	out    = "_out"
	enter  = "_enter"
	leave  = "_leave"
	charge = "_charge"
)

// Parse adds a template and those that it defines.
func (s *Set) Parse(name, text string) error { return s.parse(s.root, name, text) }

func (s *Set) parse(into *template.Template, name, text string) error {
	if len(text) > s.limits.Text {
		return &LimitError{fmt.Sprintf("template %s has more than %d bytes", name, s.limits.Text)}
	}
	if strings.Count(text, "{{") > maxActions {
		return &LimitError{fmt.Sprintf("template %s has more than %d actions", name, maxActions)}
	}
	alone, err := template.New(name).Funcs(s.funcs).Parse(text)
	if err != nil {
		return err
	}
	for _, t := range alone.Templates() {
		if old := into.Lookup(t.Name()); old != nil && old.Tree != nil && parse.IsEmptyTree(t.Root) {
			continue // as text/template: a definition without content does not replace one that has it
		}
		s.instrument(t.Tree, name)
		if _, err := into.AddParseTree(t.Name(), t.Tree); err != nil {
			return fmt.Errorf("template %s: %w", name, err)
		}
	}
	return nil
}

// Execute runs a template. With an error the output has the marks up to the place where it stopped.
func (s *Set) Execute(name string, data any) (o Output, err error) {
	f := &frame{set: s, outermost: true}
	s.frames, s.depth = []*frame{f}, 0
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("template %s: %v", name, p)
		}
	}()
	if err := s.root.ExecuteTemplate(f, name, data); err != nil {
		return Output{Marks: f.marks}, err
	}
	return Output{Text: f.text.String(), Marks: f.marks}, nil
}

// frame is a text that is being written: that of the template, or of one that it includes.
type frame struct {
	set       *Set
	text      strings.Builder
	marks     []Mark
	outermost bool
}

func (f *frame) Write(p []byte) (int, error) {
	if int64(f.text.Len()+len(p)) > f.set.limits.Output {
		return 0, &LimitError{fmt.Sprintf("it writes more than %d bytes", f.set.limits.Output)}
	}
	if err := f.set.spend(1, int64(len(p))); err != nil {
		return 0, err
	}
	return f.text.Write(p)
}

// mark notes what is written next.
func (s *Set) mark(place int) {
	f := s.frames[len(s.frames)-1]
	if !f.outermost {
		return
	}
	m := Mark{Output: f.text.Len(), Place: s.places[place]}
	if n := len(f.marks); n > 0 && f.marks[n-1].Output == m.Output {
		f.marks[n-1] = m
		return
	}
	f.marks = append(f.marks, m)
}

func (s *Set) spend(steps, bytes int64) error {
	s.steps += steps
	s.bytes += bytes
	switch {
	case s.steps > s.limits.Steps:
		return &LimitError{fmt.Sprintf("more than %d steps", s.limits.Steps)}
	case s.bytes > s.limits.Bytes:
		return &LimitError{fmt.Sprintf("functions handle more than %d bytes", s.limits.Bytes)}
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// Without takes functions away again, include and tpl too. It is to be said before templates are added.
func (s *Set) Without(names ...string) *Set {
	for _, name := range names {
		delete(s.funcs, name)
	}
	return s
}

// Methods says how many bytes a call of a method of the values can make. It is to be said before templates are added.
func (s *Set) Methods(cost map[string]int64) { s.methods = cost }

func (s *Set) charge(bytes int) (string, error) { return "", s.spend(1, int64(bytes)) }

func (s *Set) tick(place int) (string, error) {
	if place >= 0 {
		s.mark(place)
	}
	return "", s.spend(1, 0)
}

// out stands at the end of a pipeline whose value is written. A reflect.Value keeps what fmt looks at: whether it is addressable.
func (s *Set) out(place int, v reflect.Value) (reflect.Value, error) {
	s.mark(place)
	size, err := s.measure(v)
	if err != nil {
		return v, err
	}
	return v, s.spend(1, size)
}

func (s *Set) enter(nesting int) (string, error) {
	if s.depth += nesting; s.depth > maxNesting {
		return "", &LimitError{"templates are nested too deeply"}
	}
	return "", s.spend(1, 0)
}

func (s *Set) leave(nesting int) string {
	s.depth -= nesting
	return ""
}

// How many levels of nesting a template in a template counts for. A text that is given to tpl costs more: all templates are copied
// for it, and each level tells its error again.
const (
	includeWeight = 20
	tplWeight     = 300
)

// run executes a template into a text of its own.
func (s *Set) run(t *template.Template, name string, data any, weight int) (string, error) {
	if err := s.spend(1, 0); err != nil {
		return "", err
	}
	f, depth := &frame{set: s}, s.depth
	if s.depth += weight; s.depth > maxNesting {
		return "", &LimitError{"templates are nested too deeply"}
	}
	s.frames = append(s.frames, f)
	err := t.ExecuteTemplate(f, name, data)
	s.frames, s.depth = s.frames[:len(s.frames)-1], depth
	return f.text.String(), err
}

// include is Helm's: the text of another template.
func (s *Set) include(t *template.Template) func(string, any) (string, error) {
	return func(name string, data any) (string, error) {
		if s.nested[name] > maxInclude {
			return "", fmt.Errorf("template %q includes itself more than %d times", name, maxInclude)
		}
		s.nested[name]++
		defer func() { s.nested[name]-- }()
		return s.run(t, name, data, includeWeight)
	}
}

// tpl is Helm's: it executes a text as a template that sees those of its caller.
func (s *Set) tpl(parent *template.Template, missingKey string) func(string, any) (string, error) {
	return func(text string, data any) (string, error) {
		if err := s.spend(int64(len(parent.Templates()))+1, int64(len(text))); err != nil {
			return "", err
		}
		t, err := parent.Clone()
		if err != nil {
			return "", fmt.Errorf("template cannot be cloned: %w", err)
		}
		t.Option("missingkey=" + missingKey) // Clone forgets it (golang/go#43022)
		t.Funcs(template.FuncMap{"include": s.include(t), "tpl": s.tpl(t, missingKey)})
		if len(s.places) > maxPlaces {
			return "", &LimitError{"tpl is called too often"}
		}
		if err := s.parse(t, parent.Name(), text); err != nil {
			return "", fmt.Errorf("text given to tpl cannot be parsed: %w", err)
		}
		written, err := s.run(t, parent.Name(), data, tplWeight)
		if err != nil {
			return "", fmt.Errorf("text given to tpl: %w", err)
		}
		return strings.ReplaceAll(written, NoValue, ""), nil
	}
}

// NoValue is what text/template writes for a value that is not there, and what Helm takes out again.
const NoValue = "<no value>"

// maxPlaces bounds the pieces of all templates of a set, those that tpl makes included.
const maxPlaces = 5_000_000

// WithoutNoValue takes the text NoValue out, as Helm does.
func (o Output) WithoutNoValue() Output {
	if !strings.Contains(o.Text, NoValue) {
		return o
	}
	var text strings.Builder
	marks := make([]Mark, 0, len(o.Marks))
	for from, next := 0, 0; ; {
		at := strings.Index(o.Text[from:], NoValue)
		to := len(o.Text)
		if at >= 0 {
			to = from + at
		}
		for ; next < len(o.Marks) && o.Marks[next].Output <= to; next++ {
			m := o.Marks[next]
			m.Output = text.Len() + max(0, m.Output-from)
			marks = append(marks, m)
		}
		text.WriteString(o.Text[from:to])
		if at < 0 {
			return Output{Text: text.String(), Marks: marks}
		}
		from = to + len(NoValue)
	}
}

// Cause returns what stopped a template: a *LimitError, or the end of the context; nil for an error of the template itself.
func Cause(err error) error {
	var limit *LimitError
	if errors.As(err, &limit) {
		return limit
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
