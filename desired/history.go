package desired

import (
	"slices"
	"time"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/policies"
)

// form is one form of an object in one unit, for some steps. It holds on to no state, so that history is small.
type form struct {
	entry  *entry
	stored *storedForm
	unit   policies.Unit
	source string
	files  map[string]git.Hash // what the unit read, for places; nil when it is no more declared
	owner  *owner              // what declares the unit, for places; nil when it is no more declared
	since  int
	until  int // -1 while it is declared
}

func (f *form) of(id unitID) bool { return f.until < 0 && idOf(f.unit, f.source) == id }

type closed struct {
	key  policies.Key
	step int
	unit policies.Unit
}

// note compares a state with the one before, and begins and ends forms.
func (s *snapshot) note(state *State, number int) {
	before := s.state
	for _, u := range state.units {
		var old *Unit
		if before != nil {
			old = before.byID[u.id()]
		}
		if old != nil && old.result == u.result && old.Unit == u.Unit && old.Elsewhere == u.Elsewhere && before.set == state.set {
			continue
		}
		s.noteUnit(state, before, old, u, number)
	}
	if before == nil {
		return
	}
	for _, old := range before.units {
		if state.byID[old.id()] == nil {
			for _, e := range old.result.all() {
				s.endAll(before, e, old.id(), number, nil)
			}
		}
	}
}

// endAll ends the forms of an entry that a unit no more declares.
func (s *snapshot) endAll(before *State, e *entry, id unitID, number int, declared map[policies.Key]*entry) {
	key, other := before.keys(e)
	if declared[key] == nil {
		s.end(key, id, number)
	}
	if other != key && declared[other] == nil {
		s.end(other, id, number)
	}
}

func (s *snapshot) noteUnit(state, before *State, old, u *Unit, number int) {
	declared := make(map[policies.Key]*entry, u.result.size())
	if u.Elsewhere == "" {
		for _, e := range u.result.all() {
			key, other := state.keys(e)
			declared[key], declared[other] = e, e
		}
	}
	if old != nil {
		for _, e := range old.result.all() {
			s.endAll(before, e, old.id(), number, declared)
		}
	}
	id := u.id()
	for key, e := range declared {
		now := &form{entry: e, stored: e.stored.Load(), unit: u.Unit, source: u.Source, files: u.result.files(u.Source), owner: u.result.owner, since: number, until: -1}
		forms := s.forms.get(key)
		if i := slices.IndexFunc(forms, func(f *form) bool { return f.of(id) }); i >= 0 {
			if f := forms[i]; f.same(now) {
				now.since = f.since
				forms = slices.Clone(forms)
				forms[i] = now
				s.forms.set(key, forms)
				continue
			}
			s.end(key, id, number)
			forms = s.forms.get(key)
		}
		s.forms.set(key, append(slices.Clip(forms), now))
	}
}

// same says whether two forms of one key are one: what is sent, by whom, and what becomes of it.
func (f *form) same(o *form) bool {
	if f.unit != o.unit || f.source != o.source {
		return false
	}
	if f.entry == o.entry && f.stored == o.stored {
		return true
	}
	a, b := f.entry, o.entry
	return string(a.content) == string(b.content) && a.hook == b.hook && slices.EqualFunc(a.opaque, b.opaque, func(p, q policies.Path) bool { return p.String() == q.String() }) &&
		string(f.stored.content) == string(o.stored.content) && (f.stored.err == nil) == (o.stored.err == nil)
}

func (s *snapshot) end(key policies.Key, id unitID, number int) {
	forms := s.forms.get(key)
	i := slices.IndexFunc(forms, func(f *form) bool { return f.of(id) })
	if i < 0 {
		return
	}
	forms = slices.Clone(forms)
	ended := *forms[i]
	ended.until, ended.files, ended.owner = number-1, nil, nil
	forms[i] = &ended
	s.forms.set(key, forms)
	s.gone = append(s.gone, closed{key: key, step: ended.until, unit: ended.unit})
}

// forget drops the commits that are beyond the bounds of history, and the forms that only they had.
func (s *snapshot) forget(h History, now time.Time) {
	perSource := map[string]int{}
	for _, st := range s.steps {
		perSource[st.source]++
	}
	drop := 0
	for drop < len(s.steps)-1 {
		st := s.steps[drop]
		tooMany := perSource[st.source] > h.Commits
		tooOld := h.Age > 0 && perSource[st.source] > 1 && s.steps[drop+1].commit.Time.Before(now.Add(-h.Age))
		if !tooMany && !tooOld {
			break
		}
		perSource[st.source]--
		drop++
	}
	if drop == 0 {
		return
	}
	for _, st := range s.steps[:drop] {
		delete(s.order[st.source], git.Hash(st.commit.Hash))
	}
	s.steps, s.first = slices.Clone(s.steps[drop:]), s.first+drop
	n := 0
	for ; n < len(s.gone) && s.gone[n].step < s.first; n++ {
		key := s.gone[n].key
		left := slices.DeleteFunc(slices.Clone(s.forms.get(key)), func(f *form) bool { return f.until >= 0 && f.until < s.first })
		if len(left) == 0 {
			s.forms.set(key, nil)
		} else {
			s.forms.set(key, left)
		}
	}
	s.gone = slices.Clone(s.gone[n:])
}
