package report

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// fingerprints gives each row a name that stays the same when lines are added or removed around it, and that no other row of its
// file has: a forge follows a finding from commit to commit by it.
type fingerprints struct {
	name func(file string) string // as seen from the repository's root, so that the folder a run starts in does not matter
	file string
	seen map[string]int
}

// of is made of what was broken (policy and rule), by whom (file, kind, namespace and name), and how (field and message without
// its numbers, which may be line numbers). An object without a name is known by its source line. The place itself is no part.
func (f *fingerprints) of(subject *policies.ObjectRef, r *row) string {
	parts := []string{
		r.id, f.name(r.pos.File), subject.Kind.GroupKind().String(), subject.Namespace, subject.Name, r.path.String(), withoutNumbers(r.message),
	}
	if subject.Name == "" {
		parts = append(parts, strings.TrimSpace(r.pos.Text))
	}
	key := strings.Join(parts, "\x00")
	if f.seen == nil || f.file != subject.Origin.File {
		f.file, f.seen = subject.Origin.File, map[string]int{}
	}
	n := f.seen[key]
	f.seen[key] = n + 1
	if n > 0 {
		key += "\x00" + strconv.Itoa(n)
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

func withoutNumbers(s string) string {
	var b strings.Builder
	inNumber := false
	for _, r := range s {
		digit := r >= '0' && r <= '9'
		switch {
		case !digit:
			b.WriteRune(r)
		case !inNumber:
			b.WriteByte('#')
		}
		inNumber = digit
	}
	return b.String()
}

// reasonOf is the text of an error in one line, and its place when it says one of its own.
func reasonOf(err error) (string, policies.Position) {
	if at, ok := err.(*policies.PositionError); ok && at.Pos.File != "" {
		return strings.Join(lines(at.Err.Error()), "; "), at.Pos
	}
	return strings.Join(lines(err.Error()), "; "), policies.Position{}
}
