package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// World is what templates ask of the world outside Git: chance and the time. The answers are made up, from Seed: what differs
// between two worlds is not declared by Git.
type World struct {
	Seed  uint64
	Asked []string // the functions that were called, each once
	calls uint64
}

func (w *World) ask(function string) *rand.Rand {
	known := false
	for _, f := range w.Asked {
		known = known || f == function
	}
	if !known {
		w.Asked = append(w.Asked, function)
	}
	w.calls++
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], w.Seed)
	binary.LittleEndian.PutUint64(key[8:], w.calls)
	return rand.New(rand.NewChaCha8(key))
}

func (w *World) text(function, alphabet string, n int) string {
	r, out := w.ask(function), make([]byte, max(0, n))
	for i := range out {
		out[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(out)
}

// now differs between worlds in every part that a format can show.
func (w *World) now(function string) time.Time {
	w.ask(function)
	s := int(w.Seed % 5)
	return time.Date(2001+s, time.Month(2+s), 3+s, 4+s, 5+s, 6+s, (7+s)*1001001, time.UTC)
}

// pem stands for a key or certificate: making one costs much, and says nothing.
func (w *World) pem(function, label string) string {
	text := w.text(function, letters+digits, 64)
	return "-----BEGIN " + label + "-----\n" + base64.StdEncoding.EncodeToString([]byte(text)) + "\n-----END " + label + "-----\n"
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// Certificate is what sprig's certificate functions return.
type Certificate struct{ Cert, Key string }

// Sprig returns the functions of sprig, with those that ask the world answered by w. Those that would ask this machine (env,
// expandenv) are left out, and getHostByName finds nothing, as in Helm.
func Sprig(w *World) template.FuncMap {
	funcs := sprig.TxtFuncMap()
	delete(funcs, "env")
	delete(funcs, "expandenv")
	certificate := func(name string) Certificate {
		return Certificate{Cert: w.pem(name, "CERTIFICATE"), Key: w.pem(name, "RSA PRIVATE KEY")}
	}
	inZone := funcs["dateInZone"].(func(string, any, string) string)
	date := func(function, format string, at any, zone string) string {
		switch at.(type) {
		case time.Time, *time.Time, int64, int, int32:
		default:
			at = w.now(function)
		}
		if zone == "Local" {
			zone = "UTC" // as in the containers that the controllers run in
		}
		return inZone(format, at, zone)
	}
	for name, f := range map[string]any{
		"getHostByName": func(string) string { return "" },
		"randAlphaNum":  func(n int) string { return w.text("randAlphaNum", letters+digits, n) },
		"randAlpha":     func(n int) string { return w.text("randAlpha", letters, n) },
		"randNumeric":   func(n int) string { return w.text("randNumeric", digits, n) },
		"randAscii":     func(n int) string { return w.text("randAscii", letters+digits+"!#$%&()*+,-./:;<=>?@[]^_{|}~", n) },
		"randBytes": func(n int) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(w.text("randBytes", letters+digits, n))), nil
		},
		"randInt": func(low, high int) (int, error) {
			if high <= low {
				return 0, fmt.Errorf("randInt %d %d: expected the second to be larger", low, high)
			}
			return low + w.ask("randInt").IntN(high-low), nil
		},
		"shuffle": func(text string) string {
			runes := []rune(text)
			w.ask("shuffle").Shuffle(len(runes), func(i, j int) { runes[i], runes[j] = runes[j], runes[i] })
			return string(runes)
		},
		"uuidv4": func() string {
			h := hex.EncodeToString([]byte(w.text("uuidv4", letters+digits, 16)))
			return strings.Join([]string{h[:8], h[8:12], "4" + h[13:16], "8" + h[17:20], h[20:32]}, "-")
		},
		"bcrypt":   func(text string) string { return "$2a$10$" + w.digest("bcrypt", text) },
		"htpasswd": func(user, password string) string { return user + ":$2a$10$" + w.digest("htpasswd", password) },
		"encryptAES": func(password, text string) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(w.digest("encryptAES", text))), nil
		},
		"genPrivateKey":     func(string) string { return w.pem("genPrivateKey", "RSA PRIVATE KEY") },
		"genCA":             func(string, int) (Certificate, error) { return certificate("genCA"), nil },
		"genCAWithKey":      func(string, int, string) (Certificate, error) { return certificate("genCAWithKey"), nil },
		"genSelfSignedCert": func(string, []any, []any, int) (Certificate, error) { return certificate("genSelfSignedCert"), nil },
		"genSelfSignedCertWithKey": func(string, []any, []any, int, string) (Certificate, error) {
			return certificate("genSelfSignedCertWithKey"), nil
		},
		"genSignedCert": func(string, []any, []any, int, any) (Certificate, error) { return certificate("genSignedCert"), nil },
		"genSignedCertWithKey": func(string, []any, []any, int, any, string) (Certificate, error) {
			return certificate("genSignedCertWithKey"), nil
		},
		"buildCustomCert": customCertificate,
		"now":             func() time.Time { return w.now("now") },
		"ago":             func(at any) string { w.ask("ago"); return strconv.FormatUint(w.Seed, 10) + "s" },
		"date":            func(format string, at any) string { return date("date", format, at, "Local") },
		"dateInZone":      func(format string, at any, zone string) string { return date("dateInZone", format, at, zone) },
		"date_in_zone":    func(format string, at any, zone string) string { return date("dateInZone", format, at, zone) },
		"htmlDate":        func(at any) string { return date("htmlDate", "2006-01-02", at, "Local") },
		"htmlDateInZone":  func(at any, zone string) string { return date("htmlDateInZone", "2006-01-02", at, zone) },
	} {
		funcs[name] = f
	}
	return funcs
}

// digest stands for a salted one.
func (w *World) digest(function, text string) string {
	sum := sha256.Sum256([]byte(w.text(function, letters, 16) + text))
	return hex.EncodeToString(sum[:])
}

// customCertificate is a certificate and its key as the template was given them, in base64.
func customCertificate(cert, key string) (Certificate, error) {
	c, err := base64.StdEncoding.DecodeString(cert)
	if err != nil {
		return Certificate{}, fmt.Errorf("certificate is no base64: %w", err)
	}
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("key is no base64: %w", err)
	}
	return Certificate{Cert: string(c), Key: string(k)}, nil
}
