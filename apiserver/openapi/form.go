package openapi

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// shape is a struct type in one version. Its fields are read when it is first met.
type shape struct {
	name string
	text string // its lines of shapes.txt
	mask uint8  // the versions that have it
	bit  uint8  // the version it is read for
	read func() []member
	deep func() []member // those of read whose value is a map or a list
}

// member is one field of a struct.
type member struct {
	name     string
	required bool
	form     *form
}

func (s *shape) member(name string) *member {
	members := s.read()
	i, ok := slices.BinarySearchFunc(members, name, func(m member, name string) int { return strings.Compare(m.name, name) })
	if !ok {
		return nil
	}
	return &members[i]
}

// sort is what a value is, as the Go type that the API server decodes it into.
type sort byte

const (
	anything    sort = '*'
	text        sort = 's'
	int32Number sort = 'i'
	int64Number sort = 'l'
	floatNumber sort = 'n'
	boolean     sort = 'b'
	quantity    sort = 'q'
	intOrString sort = 'x'
	timestamp   sort = 't'
	base64Text  sort = 'y'
	structure   sort = '@'
	mapping     sort = '{'
	list        sort = '['
)

// form is the form of a value.
type form struct {
	sort  sort
	enum  []string // of a text; nil when any is allowed
	shape int      // of a structure
	item  *form    // of a list's items or a mapping's values
	set   bool     // a list of which no item may come twice
	keys  []key    // a list of which no two items may agree in these
}

type key struct{ name, preset string }

// readShapes returns the types, by number, as the version of that bit has them.
func readShapes(bit uint8) []*shape {
	var all []*shape
	for part := range strings.SplitSeq(strings.TrimPrefix(inflate(shapesFile), "#"), "\n#") {
		head, lines, _ := strings.Cut(part, "\n")
		name, mask, _ := strings.Cut(head, "\t")
		s := &shape{name: name, text: lines, mask: uint8(number(mask)), bit: bit}
		s.read = sync.OnceValue(s.parse)
		s.deep = sync.OnceValue(func() []member {
			return slices.DeleteFunc(slices.Clone(s.read()), func(m member) bool { return !m.form.nests() })
		})
		all = append(all, s)
	}
	return all
}

func (s *shape) parse() []member {
	var out []member
	for line := range strings.SplitSeq(strings.TrimSuffix(s.text, "\n"), "\n") {
		if line == "" {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) == 3 && uint8(number(f[2]))&s.bit == 0 {
			continue
		}
		written, required := strings.CutPrefix(f[1], "!")
		out = append(out, member{name: f[0], required: required, form: parseForm(written)})
	}
	return out
}

// parseForm reads the form that the generator writes: a letter for a scalar, "s|A|B" for an enum, "@12" for a type, "{}" and "[]"
// before the form of the values, "[*]" for a set and "[name,protocol=TCP]" for a list with keys and their defaults.
func parseForm(s string) *form {
	switch sort(s[0]) {
	case structure:
		return &form{sort: structure, shape: number(s[1:])}
	case mapping:
		return &form{sort: mapping, item: parseForm(s[2:])}
	case list:
		inside, rest, ok := strings.Cut(s[1:], "]")
		if !ok {
			panic(fmt.Sprintf("openapi: embedded data: form %q", s))
		}
		f := &form{sort: list, item: parseForm(rest)}
		switch inside {
		case "":
		case "*":
			f.set = true
		default:
			for part := range strings.SplitSeq(inside, ",") {
				name, preset, _ := strings.Cut(part, "=")
				f.keys = append(f.keys, key{name, preset})
			}
		}
		return f
	case text:
		f := &form{sort: text}
		if len(s) > 1 {
			f.enum = strings.Split(s[2:], "|")
		}
		return f
	default:
		return &form{sort: sort(s[0])}
	}
}
