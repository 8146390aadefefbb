package manifest

import (
	"math"
	"strconv"
	"strings"
)

// scalar is the value of an unquoted YAML scalar.
func (p *parser) scalar(s string) (any, bool) {
	if v, ok := resolve(s); ok {
		if f, isFloat := v.(float64); isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, false
		}
		return v, true
	}
	return s, s != "<<"
}

// startsPlain says whether text begins an unquoted scalar, for sure.
func startsPlain(text string) bool {
	if text == "" {
		return false
	}
	switch c := text[0]; c {
	case '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`', ' ', '\t', '\n', '\r':
		return false
	case '-':
		return len(text) > 1 && strings.IndexByte(" \t\r\n,]}[{", text[1]) < 0
	default:
		return c < 0x80 || c >= 0xc2
	}
}

// isTextKey says whether an unquoted key is a text, and no merge.
func isTextKey(s string) bool {
	if s == "<<" {
		return false
	}
	_, other := resolve(s)
	return !other
}

// resolve gives the value of an unquoted scalar that is no text, by YAML 1.1 as Kubernetes' clients read it: y, no, on, 0o17,
// 0b1, 1_000. Numbers come as JSON gives them back: an int64 when they are whole and fit, else a float64.
func resolve(s string) (v any, ok bool) {
	if s == "" {
		return nil, true
	}
	switch c := s[0]; c {
	case 'y', 'Y', 'n', 'N', 't', 'T', 'f', 'F', 'o', 'O', '~':
		if len(s) > 5 {
			return nil, false
		}
		return word(s)
	case '.':
		switch s {
		case ".nan", ".NaN", ".NAN":
			return math.NaN(), true
		case ".inf", ".Inf", ".INF":
			return math.Inf(1), true
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return wholeOr(f), true
		}
		return nil, false
	case '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return number(s)
	}
	return nil, false
}

// resolveFloat is the float that an unquoted scalar is; ok is false for one that is something else, or whole.
func resolveFloat(s string) (f float64, ok bool) {
	v, _ := resolve(s)
	f, ok = v.(float64)
	return f, ok
}

func word(s string) (any, bool) {
	switch s {
	case "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	case "~", "null", "Null", "NULL":
		return nil, true
	}
	return nil, false
}

// number reads an integer in any base, with or without underscores, or a float. What is neither is a text, as is a date.
func number(s string) (any, bool) {
	if len(s) < 18 && s[0] != '0' {
		n, i := int64(0), 0
		if s[0] == '-' {
			i = 1
		}
		for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
			n = n*10 + int64(s[i]-'0')
		}
		switch {
		case i == len(s) && i > 1 && s[0] == '-' && s[1] != '0':
			return -n, true
		case i == len(s) && s[0] != '-':
			return n, true
		}
	}
	switch s {
	case "0":
		return int64(0), true
	case "+.inf", "+.Inf", "+.INF":
		return math.Inf(1), true
	case "-.inf", "-.Inf", "-.INF":
		return math.Inf(-1), true
	}
	plain := strings.ReplaceAll(s, "_", "")
	if n, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return n, true
	}
	if n, err := strconv.ParseUint(plain, 0, 64); err == nil {
		return float64(n), true
	}
	if isFloat(plain) {
		if f, err := strconv.ParseFloat(plain, 64); err == nil {
			return wholeOr(f), true
		}
	}
	if digits, ok := strings.CutPrefix(plain, "0b"); ok {
		if n, err := strconv.ParseInt(digits, 2, 64); err == nil {
			return n, true
		}
		if n, err := strconv.ParseUint(digits, 2, 64); err == nil {
			return float64(n), true
		}
	} else if digits, ok := strings.CutPrefix(plain, "-0b"); ok {
		if n, err := strconv.ParseInt("-"+digits, 2, 64); err == nil {
			return n, true
		}
	}
	return nil, false
}

// wholeOr is what a float becomes on its way through JSON, which writes whole numbers below 1e21 as integers.
func wholeOr(f float64) any {
	switch {
	case f != math.Trunc(f) || math.Abs(f) >= 1e21:
		return f
	case math.Abs(f) < 1<<53:
		return int64(f)
	}
	// The shortest digits, filled up with zeros, may name another integer than the float does.
	if n, err := strconv.ParseInt(strconv.FormatFloat(f, 'f', -1, 64), 10, 64); err == nil {
		return n
	}
	return f
}

// isFloat says whether s is written as YAML writes a float: sign, digits with or without a point, exponent.
func isFloat(s string) bool {
	s = strings.TrimLeft(s[:min(1, len(s))], "+-") + s[min(1, len(s)):]
	before := digitsOf(s)
	s = s[before:]
	after := 0
	if strings.HasPrefix(s, ".") {
		after = digitsOf(s[1:])
		s = s[1+after:]
	}
	if before == 0 && after == 0 {
		return false
	}
	if s == "" {
		return true
	}
	if s[0] != 'e' && s[0] != 'E' {
		return false
	}
	s = s[1:]
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	return s != "" && digitsOf(s) == len(s)
}

func digitsOf(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// keyString writes a key that is no text as sigs.k8s.io/yaml does. A key without a value cannot be written.
func keyString(v any) (string, bool) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		switch s := strconv.FormatFloat(v, 'g', -1, 32); s {
		case "+Inf":
			return ".inf", true
		case "-Inf":
			return "-.inf", true
		case "NaN":
			return ".nan", true
		default:
			return s, true
		}
	}
	return "", false
}

// jsonScalar reads a JSON number or word at i.
func (p *parser) jsonScalar() (any, bool) {
	rest := p.text[p.i:]
	for _, w := range []struct {
		text  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if strings.HasPrefix(rest, w.text) {
			p.i += len(w.text)
			p.last = p.i
			return w.value, true
		}
	}
	n := jsonNumber(rest)
	if n == 0 {
		return nil, false
	}
	p.i += n
	p.last = p.i
	text := rest[:n]
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

// jsonNumber is the length of the JSON number that s begins with, or 0 (RFC 8259, section 6).
func jsonNumber(s string) int {
	i := 0
	if strings.HasPrefix(s, "-") {
		i++
	}
	n := digitsOf(s[i:])
	if n == 0 || n > 1 && s[i] == '0' {
		return 0
	}
	i += n
	if i < len(s) && s[i] == '.' {
		n := digitsOf(s[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		n := digitsOf(s[j:])
		if n == 0 {
			return 0
		}
		i = j + n
	}
	return i
}
