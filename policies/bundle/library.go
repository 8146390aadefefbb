package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// shipped is what the items of `policies:` take of the library.
type shipped struct {
	library Library
	texts   map[string][]byte // of the documents, by file name
	version map[string]int    // item that a document which says the version came with
	named   map[string]int    // item by the name it gives
	items   map[string][]int  // items that stand for a policy, by its name
}

// ship takes what item i of `policies:` names.
func (l *loader) ship(i int, s PolicySource) {
	pos := l.config.Position("policies", i, "library")
	to := slices.IndexFunc(l.kinds, func(k Kind) bool { return k.Ships })
	if l.shipped.library == nil || to < 0 {
		l.fail(pos, errors.New("library: nothing ships with this program: name your own policies with path"))
		return
	}
	version := s.Version
	switch {
	case version != "" && !l.shipped.library.HasVersions(s.Library):
		l.fail(l.config.Position("policies", i, "version"), fmt.Errorf("policies[%d].version: library %s asks for the same at every version of Kubernetes: remove it", i, s.Library))
		return
	case version == "":
		version = l.config.Kubernetes
	}
	names, err := l.shipped.library.Policies(s.Library, version)
	if err != nil {
		l.fail(pos, fmt.Errorf("library %q does not exist: %s", s.Library, expectedName(s.Library, l.shipped.library.Names())))
		return
	}
	docs, err := l.shipped.library.Select(s.Library, version)
	if err != nil {
		l.fail(pos, err)
		return
	}
	if l.shipped.texts == nil {
		l.shipped.texts, l.shipped.named, l.shipped.items, l.shipped.version = map[string][]byte{}, map[string]int{}, map[string][]int{}, map[string]int{}
	}
	if first, twice := l.shipped.named[s.Library]; twice {
		l.fail(pos, fmt.Errorf("policies[%d].library: %s is named by policies[%d] already", i, s.Library, first))
		return
	}
	l.shipped.named[s.Library] = i
	for _, name := range names {
		l.shipped.items[name] = append(l.shipped.items[name], i)
	}
	for _, d := range docs {
		switch known, there := l.shipped.texts[d.File]; {
		case !there:
			l.shipped.texts[d.File], l.shipped.version[d.File] = d.Text, i
			l.claimed[to] = append(l.claimed[to], d)
		case !bytes.Equal(known, d.Text):
			l.fail(pos, fmt.Errorf("policies[%d].version: policies[%d] asks for another version of the library: expected one for all", i, l.shipped.version[d.File]))
			return
		}
	}
}

// actShipped gives a policy of the library its action: of the item that names the policy itself, or else the strongest of the
// families that it belongs to.
func (l *loader) actShipped(p *policies.Policy) {
	if len(l.shipped.items[p.Name]) == 0 {
		return
	}
	own := p.Action
	strongest := policies.Audit
	for _, i := range l.shipped.items[p.Name] {
		action := own
		if given := l.config.Policies[i].Action; given != nil {
			action = *given
		}
		if l.config.Policies[i].Library == p.Name {
			p.Action = action
			return
		}
		strongest = min(strongest, action)
	}
	p.Action = strongest
}

// withMembers puts behind each family of the library its policies: those below its name, and those that came with it alone. A
// policy that another item brought too is left to that item's name, so that who is exempt from restricted still has to keep the
// baseline that is asked for by itself.
func (l *loader) withMembers(patterns []string) []string {
	if len(l.shipped.items) == 0 {
		return patterns
	}
	var out []string
	for _, pattern := range patterns {
		out = append(out, pattern)
		for _, name := range slices.Sorted(maps.Keys(l.shipped.items)) {
			elsewhere := func(i int) bool { return l.config.Policies[i].Library != pattern }
			if strings.HasPrefix(name, pattern+"/") || !slices.ContainsFunc(l.shipped.items[name], elsewhere) {
				out = append(out, name)
			}
		}
	}
	return out
}
