package trust

import (
	"bytes"
	"errors"
	"strings"
)

// split takes the signature out of a raw commit object: payload is what was signed (the object without its signature headers),
// signature the armored text, "" when there is none. See git-commit-tree and Documentation/gitformat-signature.txt of Git: the
// header is gpgsig, or gpgsig-sha256 in a repository of SHA-256; following lines begin with a blank. An object with two
// signatures of one kind is refused: which one a reader looks at would be left to chance.
func split(raw []byte) (payload []byte, signature string, err error) {
	signatures := map[string]*strings.Builder{}
	var out bytes.Buffer
	var current *strings.Builder
	header := true
	for line := range bytes.Lines(raw) {
		if !header {
			out.Write(line)
			continue
		}
		if current != nil && line[0] == ' ' {
			current.Write(line[1:])
			continue
		}
		current = nil
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch key := string(name); {
		case key == "gpgsig" || key == "gpgsig-sha256":
			if signatures[key] != nil {
				return nil, "", errors.New("the commit has two signatures")
			}
			current = &strings.Builder{}
			current.Write(value)
			signatures[key] = current
			continue
		case string(line) == "\n":
			header = false
		}
		out.Write(line)
	}
	if len(signatures) > 1 {
		return nil, "", errors.New("the commit has two signatures")
	}
	for _, s := range signatures {
		signature = s.String()
	}
	return out.Bytes(), signature, nil
}
