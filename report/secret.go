package report

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

const redacted = "***"

// isSecret says that what d is about may hold values that no report may show.
func isSecret(d *policies.Decision) bool {
	k := d.Subject.Kind
	return k.Group == "" && k.Kind == "Secret"
}

// keyValue is a line of block YAML or of indented JSON with one key: its start, the key, what stands between, and the value.
var keyValue = regexp.MustCompile(`^(\s*(?:- +)*["']?)([^"':{}\[\],\s#&*!|>%@]+)(["']?\s*:\s+)(\S.*)$`)

// quoted is a quoted part of a message.
var quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'[^']*'|`[^`]*`")

// openKeys are fields of a Secret whose values are no secrets. Annotations are not among them: kubectl keeps whole manifests there.
var openKeys = []string{"apiVersion", "kind", "name", "namespace", "type", "immutable"}

// redact takes values of a Secret out of r. Whoever made the violation has to do so too: here only the source line tells what a
// value is. Its value goes unless it stands alone on its line under a key that is known to be open; so do the same value, as it
// is and decoded, and everything quoted in a message about a field of the Secret's data.
func (r *row) redact() {
	line, value := redactLine(r.pos.Text, r.path)
	if line != r.pos.Text {
		if r.pos.EndColumn > len(line)+1 || r.pos.Column > len(line) {
			r.pos.EndColumn = 0
		}
		r.pos.Text = line
	}
	inData := len(r.path) > 1 && (r.path[0] == "data" || r.path[0] == "stringData")
	for _, s := range []*string{&r.message, &r.fix} {
		*s = hideValue(*s, value)
		if inData {
			*s = quoted.ReplaceAllStringFunc(*s, func(q string) string {
				if slices.Contains(r.path, any(q[1:len(q)-1])) {
					return q
				}
				return q[:1] + redacted + q[len(q)-1:]
			})
		}
	}
}

// redactLine returns the source line that may be shown, and the value that it lost.
func redactLine(text string, p policies.Path) (line, value string) {
	if strings.TrimSpace(text) == "" {
		return text, ""
	}
	m := keyValue.FindStringSubmatch(text)
	if m == nil {
		if key := strings.TrimSpace(text); strings.HasSuffix(key, ":") && known(strings.Trim(strings.TrimSuffix(key, ":"), `"'`), p) {
			return text, ""
		}
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		return indent + redacted, strings.TrimSpace(text)
	}
	key, value := m[2], m[4]
	if !known(key, p) {
		return text[:len(text)-len(strings.TrimLeft(text, " \t"))] + redacted, value
	}
	if slices.Contains(openKeys, key) && !inSecretPart(p) && !strings.ContainsAny(value, "{}[],") {
		return text, ""
	}
	return m[1] + key + m[3] + redacted, value
}

// inSecretPart says that p is, or may be, where a Secret keeps its values.
func inSecretPart(p policies.Path) bool {
	return len(p) > 0 && (p[0] == "data" || p[0] == "stringData" || len(p) > 1 && p[0] == "metadata" && p[1] == "annotations")
}

// known says that key is a name of the API or of the path that a violation gave away already, and no part of a value.
func known(key string, p policies.Path) bool {
	return slices.Contains(p, any(key)) || slices.Contains(openKeys, key) ||
		slices.Contains([]string{"data", "stringData", "metadata", "labels", "annotations"}, key)
}

// hideValue replaces value in s, as it is written, without its quotes, and decoded.
func hideValue(s, value string) string {
	value = strings.TrimRight(strings.TrimSpace(value), ",")
	bare := strings.Trim(value, `"'`)
	forms := []string{value, bare}
	if decoded, err := base64.StdEncoding.DecodeString(bare); err == nil {
		forms = append(forms, string(decoded), strings.TrimSpace(string(decoded)))
	}
	for _, form := range forms {
		// A shorter one would tear ordinary words apart and hide nothing that could not be guessed.
		if len(form) >= 3 {
			s = strings.ReplaceAll(s, form, redacted)
		}
	}
	return s
}
