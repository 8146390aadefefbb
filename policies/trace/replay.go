package trace

import (
	"fmt"

	"gitgate.dev/gitgate/policies"
)

// replayed says that a form is of a commit older than one that was applied to its unit since: as is remembered, or as the live object
// itself shows, which needs no memory.
func (r *review) replayed(f *policies.Form) (policies.Violation, bool, error) {
	if f.Current {
		return policies.Violation{}, false, nil
	}
	newer, found, err := r.newer(f)
	if err != nil || !found {
		return policies.Violation{}, false, err
	}
	return policies.Violation{
		Rule: RuleReplay, Pos: position(f, nil),
		Message: fmt.Sprintf("%s is what commits up to %s declared, and %s was applied to %s since: an older state does not come back by itself", r.name(), short(f.Until.Hash), short(newer), f.Unit),
		Fix:     "git revert the newer commit: a revert is a new commit, and is applied",
	}, true, nil
}

// newer is a commit after those of a form that was applied to its unit.
func (r *review) newer(f *policies.Form) (commit string, found bool, err error) {
	if r.j.Applied != nil {
		if last, ok := r.j.Applied.Last(f.Source, f.Unit); ok && r.j.Index.Older(f.Source, f.Until.Hash, last) {
			return last, true, nil
		}
	}
	if r.c.Old == nil || f.Unit.Kind == helmReleaseKind.Kind {
		return "", false, nil // helm-controller goes back when an upgrade fails
	}
	for _, g := range r.forms() {
		if g.Unit != f.Unit || g.Source != f.Source || !r.j.Index.Older(f.Source, f.Until.Hash, g.Since.Hash) {
			continue
		}
		if shown, err := r.shows(r.c.Old, g); err != nil || shown {
			return g.Since.Hash, shown, err
		}
	}
	return "", false, nil
}

// wrote notes how far a reconciler has come, when what it writes shows it. What leaves an object as it was says nothing: it may be behind.
func (r *review) wrote(f *policies.Form) {
	if r.j.Applied == nil || r.c.DryRun || f.Unit.Kind == helmReleaseKind.Kind || r.c.Operation == policies.Update && len(r.edits()) == 0 {
		return
	}
	if last, ok := r.j.Applied.Last(f.Source, f.Unit); ok && (last == f.Since.Hash || r.j.Index.Older(f.Source, f.Since.Hash, last)) {
		return // as far is known
	}
	if shown, err := r.shows(r.c.Object, f); err == nil && shown {
		r.j.Applied.Wrote(f.Source, f.Unit, f.Since.Hash)
	}
}

// shows says whether an object shows that a form was applied, and not only one before it: it has all that the form declares, and is not
// what an older form declares that has all of it too.
func (r *review) shows(o *policies.Object, f *policies.Form) (bool, error) {
	stored, err := r.stored(f)
	if err != nil || !r.has(o.Map(), stored, f) {
		return false, err
	}
	for _, e := range r.forms() {
		if e.Unit != f.Unit || e.Source != f.Source || !r.j.Index.Older(f.Source, e.Until.Hash, f.Since.Hash) {
			continue
		}
		before, err := r.stored(e)
		if err != nil {
			return false, err
		}
		if r.has(before, stored, f) && r.has(o.Map(), before, e) {
			return false, nil
		}
	}
	return true, nil
}

// has says whether content has every field that is declared, with its value. It may have others.
func (r *review) has(content, declared map[string]any, f *policies.Form) bool {
	for _, d := range Compare(Content{Declared: declared, New: content, Lists: r.lists(), Opaque: opaque(f)}) {
		if d.Cause != NotDeclared && !r.lets(d, content) {
			return false
		}
	}
	return true
}
