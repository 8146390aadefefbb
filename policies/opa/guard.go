package opa

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// guarded are the builtins that a policy may call only when a configuration allows them, with why. time.now_ns is not among them:
// a policy may have a date, and its verdict then changes with the day as its author meant it to.
var guarded = map[string]string{
	"http.send":              network,
	"net.lookup_ip_addr":     network,
	"rand.intn":              chance,
	"uuid.rfc4122":           chance,
	"io.jwt.encode_sign":     chance,
	"io.jwt.encode_sign_raw": chance,
}

const (
	network = "asks the network"
	chance  = "answers by chance, so that the same change could get two verdicts"
)

// never are the builtins that no option allows.
var never = map[string]string{
	"opa.runtime": "reads the environment of the process, which differs between doors",
}

// Guarded lists the builtins that NewGuard can allow.
func Guarded() []string {
	names := make([]string, 0, len(guarded))
	for name := range guarded {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Guard is the set of guarded builtins that are allowed.
type Guard map[string]bool

// NewGuard makes a guard that allows the named builtins. Its error names each that cannot be allowed or needs no leave.
func NewGuard(allowed []string) (Guard, error) {
	g := Guard{}
	var errs []error
	for _, name := range allowed {
		switch {
		case never[name] != "":
			errs = append(errs, fmt.Errorf("rego builtin %s cannot be allowed: it %s", name, never[name]))
		case guarded[name] == "":
			errs = append(errs, fmt.Errorf("rego builtin %s needs no leave or does not exist, expected one of %s", name, strings.Join(Guarded(), ", ")))
		default:
			g[name] = true
		}
	}
	return g, errors.Join(errs...)
}

// Capabilities is what OPA may offer to policies: all that is not refused. JSON schemas that policies name are fetched only when
// the network is allowed.
func (g Guard) Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool { return IsGuarded(b.Name) && !g[b.Name] })
	if !g["http.send"] {
		c.AllowNet = []string{}
	}
	return c
}

// IsGuarded says whether a builtin may be refused.
func IsGuarded(name string) bool { return guarded[name] != "" || never[name] != "" }

// Refusal says why a guarded builtin is refused.
func Refusal(name string) string {
	if why := never[name]; why != "" {
		return fmt.Sprintf("%s %s: a policy may not call it", name, why)
	}
	return fmt.Sprintf("%s %s: a policy may call it only when gitgate.yaml allows it", name, guarded[name])
}

// Momentary says whether a builtin can answer the same question in two ways at two times.
func Momentary(name string) bool {
	b, known := ast.BuiltinMap[name]
	return !known || b.Nondeterministic || guarded[name] != "" || never[name] != "" || strings.HasPrefix(name, "crypto.x509.") || strings.HasPrefix(name, "io.jwt.") ||
		strings.HasPrefix(name, "json.") && strings.HasSuffix(name, "_schema")
}

// Online says whether a builtin asks the network.
func Online(name string) bool { return guarded[name] == network }
