package policies

// Outcome is what became of one policy on one change. The zero value is no outcome.
type Outcome int

const (
	Passed   Outcome = iota + 1
	Skipped          // it has nothing to say of this change
	Violated         //
	Deferred         // it needs what this door does not know
	Failed           // it could not judge
)

func (o Outcome) String() string {
	switch o {
	case Passed:
		return "passed"
	case Skipped:
		return "skipped"
	case Violated:
		return "violated"
	case Deferred:
		return "deferred"
	case Failed:
		return "failed"
	default:
		return "none"
	}
}

// Result is one policy on one change.
type Result struct {
	Policy   *Policy
	Outcome  Outcome
	Finding  Finding
	Missing  string       // Deferred: what the door does not know; "" otherwise
	Err      error        // Failed: why; nil otherwise
	Pod      bool         // the policy was asked of the Pod that the workload would make
	Exempted []*Exemption // one for each violation, in their order: the exemption that covers it, or nil; nil when none is covered
	Mode     *Mode        // gives the policy another action on this change; nil for none
}

// Action is what r leads to, when it is a violation or could not be judged.
func (r *Result) Action() Action {
	if r.Mode != nil {
		return r.Mode.Action
	}
	return r.Policy.Action
}

// Standing says whether violation i of r counts: no exemption covers it.
func (r *Result) Standing(i int) bool { return r.Exempted == nil || r.Exempted[i] == nil }

// ActionOf is what violation i of r leads to.
func (r *Result) ActionOf(i int) Action {
	action := r.Action()
	if r.Finding.Violations[i].Warning && action == Deny {
		return Warn
	}
	return action
}

// Verdict is the answer on a change. The zero value is none, and never lets anything in.
type Verdict int

const (
	Allow     Verdict = iota + 1
	AllowWarn         // let in, with a word
	Unsure            // a policy that denies could not judge
	Denied
)

func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case AllowWarn:
		return "warn"
	case Unsure:
		return "unsure"
	case Denied:
		return "deny"
	default:
		return "none"
	}
}

// ObjectRef names an object without keeping it.
type ObjectRef struct {
	Kind      GroupVersionKind
	Namespace string
	Name      string
	Origin    Origin
	Text      string // as Object.String writes it
}

// RefOf names o.
func RefOf(o *Object) ObjectRef {
	return ObjectRef{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Origin: o.Origin, Text: o.String()}
}

// Decision is all results of one change. It keeps no object, so that a stream of decisions needs no memory for what was judged.
type Decision struct {
	Subject   ObjectRef
	Operation Operation
	Results   []Result
}

// Verdict weighs the results. Denied beats Unsure beats AllowWarn. A decision that no policy had a result in is Allow: that
// somebody judged is for the door to see to (Engine.New refuses to be empty).
func (d *Decision) Verdict() Verdict {
	v := Allow
	for i := range d.Results {
		v = max(v, d.Results[i].verdict())
	}
	return v
}

func (r *Result) verdict() Verdict {
	switch r.Outcome {
	case Passed, Skipped, Deferred:
		return Allow
	case Violated:
		v := Allow
		for i := range r.Finding.Violations {
			if r.Standing(i) {
				v = max(v, verdictOf(r.ActionOf(i), Denied))
			}
		}
		return v
	default:
		return verdictOf(r.Action(), Unsure)
	}
}

func verdictOf(a Action, denying Verdict) Verdict {
	switch a {
	case Audit:
		return Allow
	case Warn:
		return AllowWarn
	default:
		return denying
	}
}

// Complete says that no policy was deferred to another door.
func (d *Decision) Complete() bool {
	for i := range d.Results {
		if d.Results[i].Outcome == Deferred {
			return false
		}
	}
	return true
}
