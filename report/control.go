package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// control is a control of a catalogue, as a policy names it: the last word is the id, what stands before it the catalogue. The
// zero control stands for the policies that name none.
type control struct{ catalogue, id string }

func controlOf(name string) control {
	name = strings.Join(strings.Fields(name), " ")
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		return control{name[:i], name[i+1:]}
	}
	return control{id: name}
}

// controlsOf are the controls that p serves, each once.
func controlsOf(p *policies.Policy) []control {
	var out []control
	for _, name := range p.Controls {
		if c := controlOf(name); c.id != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []control{{}}
	}
	return out
}

// compareControls orders by catalogue and by id, numbers in ids by their value; the policies without a control come last.
func compareControls(a, b control) int {
	if (a == control{}) != (b == control{}) {
		if (a == control{}) {
			return 1
		}
		return -1
	}
	return cmp.Or(strings.Compare(a.catalogue, b.catalogue), compareIDs(a.id, b.id), strings.Compare(a.id, b.id))
}

func compareIDs(a, b string) int {
	for a != "" && b != "" {
		numberA, restA := leadingNumber(a)
		numberB, restB := leadingNumber(b)
		switch {
		case numberA >= 0 && numberB >= 0 && numberA != numberB:
			return cmp.Compare(numberA, numberB)
		case numberA >= 0 && numberB >= 0:
			a, b = restA, restB
		case a[0] != b[0]:
			return cmp.Compare(a[0], b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	return cmp.Compare(len(a), len(b))
}

// leadingNumber is the number that s begins with, or -1.
func leadingNumber(s string) (n int, rest string) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.Atoi(s[:digits])
	if err != nil {
		return -1, s
	}
	return n, s[digits:]
}

// standing is how an object stands to a control: the gravest of what the control's policies say of it.
type standing int

const (
	unasked     standing = iota // no policy of the control concerns it
	kept                        // passed
	excepted                    // violated, and every violation is exempted
	leftOpen                    // deferred to another door
	notJudged                   // a policy could not judge
	isViolating                 // a violation stands, whatever its action
)

func standingOf(r *policies.Result) standing {
	switch r.Outcome {
	case policies.Passed:
		return kept
	case policies.Skipped:
		return unasked
	case policies.Deferred:
		return leftOpen
	case policies.Violated:
		for i := range r.Finding.Violations {
			if r.Standing(i) {
				return isViolating
			}
		}
		return excepted
	default:
		return notJudged
	}
}

// account is what is to be told of one control.
type account struct {
	control  control
	policies []string // their names, sorted
	objects  [isViolating + 1]int
	findings []told
}

// told is a finding with the object that it is about.
type told struct {
	object string
	place  string
	row    row
}

// ledger counts by control. It keeps the findings, without source lines, until the end.
type ledger struct {
	accounts map[control]*account
	of       map[*policies.Policy][]control
}

func newLedger() *ledger {
	return &ledger{accounts: map[control]*account{}, of: map[*policies.Policy][]control{}}
}

func (l *ledger) controls(p *policies.Policy) []control {
	known, ok := l.of[p]
	if !ok {
		known = controlsOf(p)
		l.of[p] = known
	}
	return known
}

func (l *ledger) account(c control) *account {
	a := l.accounts[c]
	if a == nil {
		a = &account{control: c}
		l.accounts[c] = a
	}
	return a
}

// add counts d, of which rows are what there is to tell.
func (l *ledger) add(d *policies.Decision, rows []row) {
	gravest := map[control]standing{}
	for i := range d.Results {
		r := &d.Results[i]
		for _, c := range l.controls(r.Policy) {
			gravest[c] = max(gravest[c], standingOf(r))
		}
	}
	for c, s := range gravest {
		l.account(c).objects[s]++
	}
	for i := range rows {
		r := rows[i]
		r.pos.Text = ""
		for _, c := range l.controls(r.policy) {
			a := l.account(c)
			a.findings = append(a.findings, told{object: d.Subject.Text, place: place(d, &r), row: r})
		}
	}
}

// close returns the accounts of all controls that the run's policies serve, in their order. What no policy of a control was
// asked about is not applicable to it.
func (l *ledger) close(s *Summary) []*account {
	for _, p := range s.Policies {
		for _, c := range l.controls(p) {
			l.account(c).policies = append(l.account(c).policies, p.Name)
		}
	}
	out := make([]*account, 0, len(l.accounts))
	for _, a := range l.accounts {
		slices.Sort(a.policies)
		a.policies = slices.Compact(a.policies)
		others := 0
		for _, n := range a.objects[kept:] {
			others += n
		}
		a.objects[unasked] = max(0, s.Objects-others)
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *account) int { return compareControls(a.control, b.control) })
	return out
}

// counts says how many objects stand how, the gravest first.
func (a *account) counts() string {
	var parts []string
	for _, one := range []struct {
		standing standing
		word     string
	}{{isViolating, "violated"}, {notJudged, "not judged"}, {leftOpen, "deferred"}, {excepted, "exempt"}, {kept, "passed"}, {unasked, "not applicable"}} {
		if n := a.objects[one.standing]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, one.word))
		}
	}
	if len(parts) == 0 {
		return "no object"
	}
	return strings.Join(parts, ", ")
}

// controlTextSink writes for an auditor: each control of each catalogue, how many objects stand how, by which policies that is
// known, and the findings.
type controlTextSink struct {
	text   *textSink
	ledger *ledger
}

func (s *controlTextSink) Decision(d policies.Decision) error {
	s.ledger.add(&d, s.text.flat.rows(&d))
	return nil
}

func (s *controlTextSink) Close(sum Summary) error {
	t := s.text
	catalogue, begun := "", false
	for _, a := range s.ledger.close(&sum) {
		if a.control == (control{}) && len(a.findings) == 0 {
			continue
		}
		if !begun || a.control.catalogue != catalogue || a.control == (control{}) {
			if begun {
				t.out.string("\n")
			}
			switch {
			case a.control == control{}:
				t.paragraph([]part{{"no control", bold}}, "")
			case a.control.catalogue == "":
				t.paragraph([]part{{"controls of no catalogue", bold}}, "")
			default:
				t.paragraph([]part{{visible(a.control.catalogue), bold}}, "")
			}
			catalogue, begun = a.control.catalogue, true
		}
		s.account(a)
	}
	return t.out.flush()
}

func (s *controlTextSink) account(a *account) {
	t := s.text
	state, st := "kept", green
	switch {
	case a.objects[isViolating] > 0:
		state, st = "violated", red
	case a.objects[notJudged] > 0:
		state, st = "not judged", violet
	case a.objects[leftOpen] > 0:
		state, st = "deferred", violet
	case a.objects[excepted] > 0:
		state, st = "exempt", yellow
	case a.objects[kept] == 0:
		state, st = "not applicable", dim
	}
	id := visible(a.control.id)
	if id == "" {
		id = "-"
	}
	t.paragraph([]part{{"  " + id, bold}, {state + ":", st}, {a.counts(), plain}, {"[" + visible(strings.Join(a.policies, ", ")) + "]", dim}}, "      ")
	for i := range a.findings {
		r := &a.findings[i].row
		if r.exempt != nil && !t.opts.Verbose {
			continue
		}
		parts := []part{{"    " + a.findings[i].place, plain}}
		if word, st := levelWord(r); word != "" {
			parts = append(parts, part{word, st})
		}
		t.paragraph(append(parts, part{visible(r.message), plain}, part{"[" + visible(r.id) + "]", dim}), "        ")
	}
}

// controls is what the json format says of each control.
func (l *ledger) controlsJSON(sum *Summary) []jsonControl {
	out := []jsonControl{}
	for _, a := range l.close(sum) {
		c := jsonControl{
			Catalogue: a.control.catalogue, ID: a.control.id, Policies: append([]string{}, a.policies...), Findings: []jsonControlFinding{},
			Objects: jsonStandings{
				Violated: a.objects[isViolating], NotJudged: a.objects[notJudged], Deferred: a.objects[leftOpen],
				Exempt: a.objects[excepted], Passed: a.objects[kept], NotApplicable: a.objects[unasked],
			},
		}
		for i := range a.findings {
			c.Findings = append(c.Findings, jsonControlFinding{a.findings[i].object, a.findings[i].row.policy.Name, finding(&a.findings[i].row)})
		}
		out = append(out, c)
	}
	return out
}

type jsonControl struct {
	Catalogue string               `json:"catalogue"`
	ID        string               `json:"id"`
	Policies  []string             `json:"policies"`
	Objects   jsonStandings        `json:"objects"`
	Findings  []jsonControlFinding `json:"findings"`
}

type jsonStandings struct {
	Violated      int `json:"violated"`
	NotJudged     int `json:"notJudged"`
	Deferred      int `json:"deferred"`
	Exempt        int `json:"exempt"`
	Passed        int `json:"passed"`
	NotApplicable int `json:"notApplicable"`
}

type jsonControlFinding struct {
	Object  string      `json:"object"`
	Policy  string      `json:"policy"`
	Finding jsonFinding `json:"finding"`
}
