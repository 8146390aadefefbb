package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/util/validation"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
	"gitgate.dev/gitgate/policies/strict"
)

// constraint is a template with parameters, and what it is for. It is immutable and safe for concurrent use.
type constraint struct {
	doc      *policies.Object
	template *template
	match    matcher
	params   *ast.Term      // for Rego; nil when the template is in CEL
	content  map[string]any // the constraint with the defaults of its parameters, for CEL
	action   policies.Action
	atGator  bool // its action holds at gator.gatekeeper.sh, where tests are
	notes    []error
}

// The words of enforcementAction.
const (
	actionScoped = "scoped"
	actionDryrun = "dryrun"
)

// The points that a scoped action can name (gatekeeper pkg/util).
const (
	pointWebhook = "validation.gatekeeper.sh"
	pointVAP     = "vap.k8s.io"
	pointGator   = "gator.gatekeeper.sh"
	pointAudit   = "audit.gatekeeper.sh"
	pointAll     = "*"
)

// maxName is how long the name of a constraint may be.
const maxName = 63

// newConstraint reads a constraint. The errors are all that is wrong with it.
func newConstraint(o *policies.Object, t *template) (*constraint, []error) {
	var errs []error
	fail := func(path policies.Path, aspect policies.Aspect, format string, args ...any) {
		errs = append(errs, errorAt(o, path, aspect, fmt.Errorf(format, args...)))
	}
	if o.Kind.Version != "v1beta1" && o.Kind.Version != "v1alpha1" {
		fail(policies.Path{"apiVersion"}, policies.AtValue, "constraint of the version %s: expected %s/v1beta1", o.Kind.Version, constraintGroup)
		return nil, errs
	}
	switch {
	case o.Name == "":
		fail(policies.Path{"metadata"}, policies.AtKey, "constraint of the kind %s has no name", o.Kind.Kind)
	case len(o.Name) > maxName || len(validation.IsDNS1123Subdomain(o.Name)) > 0:
		fail(policies.Path{"metadata", "name"}, policies.AtValue, "%q is no name of a constraint: expected at most %d lower-case letters, digits, hyphens and dots", o.Name, maxName)
	}
	var d constraintDocument
	if usable, wrong := strict.Decode(o, nil, o.Map(), &d, strict.Options{}); len(wrong) > 0 {
		if !usable {
			wrong = []error{&SchemaError{errors.Join(wrong...)}}
		}
		return nil, append(errs, wrong...)
	}
	k := &constraint{doc: o, template: t}
	errs = append(errs, k.readAction(&d)...)
	m, wrong := newMatcher(o, d.Spec.Match)
	k.match = m
	errs = append(errs, wrong...)
	params, given, wrong := t.params.settle(o)
	errs = append(errs, wrong...)
	if len(errs) > 0 {
		return nil, errs
	}
	if t.native != nil {
		k.content = contentWith(o, params, given)
		return k, nil
	}
	term, err := opa.Term(orEmpty(params))
	if err != nil {
		fail(policies.Path{"spec", "parameters"}, policies.AtValue, "parameters of %s as a Rego value: %w", o, err)
		return nil, errs
	}
	k.params = term
	return k, nil
}

// readAction chooses what a violation leads to. Of scoped actions those of admission count, where gitgate stands: the strictest of
// validation.gatekeeper.sh, vap.k8s.io and *; if there is none, that of gator.gatekeeper.sh; if there is neither, what is left is the
// audit's, and is recorded.
func (k *constraint) readAction(d *constraintDocument) []error {
	at := policies.Path{"spec", "enforcementAction"}
	scopedAt := policies.Path{"spec", "scopedEnforcementActions"}
	scoped := d.Spec.ScopedEnforcementActions
	if d.Spec.EnforcementAction != actionScoped {
		if len(scoped) > 0 {
			k.notes = append(k.notes, errorAt(k.doc, scopedAt, policies.AtKey, fmt.Errorf("scopedEnforcementActions of %s are not used: expected enforcementAction: scoped with them", k.doc)))
		}
		action, ok := actionOf(d.Spec.EnforcementAction)
		if !ok && d.Spec.EnforcementAction != "" {
			return []error{errorAt(k.doc, at, policies.AtValue, fmt.Errorf("enforcementAction %q does not exist: expected deny, warn, dryrun or scoped", d.Spec.EnforcementAction))}
		}
		k.action, k.atGator = action, true
		return nil
	}
	var errs []error
	if len(scoped) == 0 {
		errs = append(errs, errorAt(k.doc, at, policies.AtValue, fmt.Errorf("enforcementAction of %s is scoped: expected scopedEnforcementActions with it", k.doc)))
	}
	chosen := map[string]policies.Action{}
	choose := func(point string, a policies.Action) {
		if before, ok := chosen[point]; !ok || a < before {
			chosen[point] = a
		}
	}
	for i, s := range scoped {
		action, ok := actionOf(s.Action)
		if !ok {
			errs = append(errs, errorAt(k.doc, scopedAt.Append(i, "action"), policies.AtValue, fmt.Errorf("action %q does not exist: expected deny, warn or dryrun", s.Action)))
		}
		if len(s.EnforcementPoints) == 0 {
			errs = append(errs, errorAt(k.doc, scopedAt.Append(i), policies.AtKey, fmt.Errorf("%s names no enforcement point: expected one such as %s", scopedAt.Append(i), pointWebhook)))
		}
		for j, point := range s.EnforcementPoints {
			switch point.Name {
			case pointAll:
				k.atGator = true
				choose(pointWebhook, action)
			case pointWebhook, pointVAP:
				choose(pointWebhook, action)
			case pointGator, pointAudit:
				k.atGator = k.atGator || point.Name == pointGator
				choose(point.Name, action)
			default:
				errs = append(errs, errorAt(k.doc, scopedAt.Append(i, "enforcementPoints", j, "name"), policies.AtValue, fmt.Errorf("enforcement point %q does not exist: expected %s",
					point.Name, strings.Join([]string{pointWebhook, pointVAP, pointGator, pointAudit, pointAll}, ", "))))
			}
		}
	}
	k.action = policies.Audit
	for _, point := range []string{pointWebhook, pointGator} {
		if a, ok := chosen[point]; ok {
			k.action = a
			break
		}
	}
	return errs
}

func actionOf(s string) (policies.Action, bool) {
	switch s {
	case "deny":
		return policies.Deny, true
	case "warn":
		return policies.Warn, true
	case actionDryrun:
		return policies.Audit, true
	}
	return policies.Deny, false
}

// lowered makes another's message begin as ours do.
func lowered(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && !slices.Contains([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), s[1]) {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
