// Package policies holds the nouns of gitgate (Object, Change, Policy, Finding, Decision) and its one verb, Decide. It knows no
// policy language, no door, no file system, no Git and no cluster, and imports nothing but the standard library, so that every
// other package can speak in its words.
package policies

import (
	"context"
	"fmt"
	"time"
)

// Severity says how much a violation weighs, for people and for reports. It never decides a verdict: Action does.
type Severity string

const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Action is what a violation leads to. The zero value denies.
type Action int

const (
	Deny  Action = iota // the change is refused
	Warn                // the change is let in and its author is warned
	Audit               // the change is let in and recorded
)

func (a Action) String() string {
	switch a {
	case Warn:
		return "warn"
	case Audit:
		return "audit"
	default:
		return "deny"
	}
}

// ParseAction reads deny, warn or audit.
func ParseAction(s string) (Action, error) {
	for _, a := range []Action{Deny, Warn, Audit} {
		if a.String() == s {
			return a, nil
		}
	}
	return Deny, fmt.Errorf("action %q: expected deny, warn or audit", s)
}

// Policy is data plus one function.
type Policy struct {
	Name     string // unique in a bundle: its language's own name (require-labels), or library path (pod-security/restricted)
	Kind     string // the kind of policy it is: schema, rego, cel …
	Doc      string // one or two sentences: what it asks for and why
	URL      string // where more is said
	Severity Severity
	Controls []string // identifiers of control catalogues: "CIS 5.2.1", "NIST SP 800-53 CM-6"
	Rules    []string // ids of the rules that its violations can carry, when they are known before
	Origin   Position // where the policy is written; zero for a built-in one
	Files    []string // every file that it is written in; nil when that is Origin's alone

	Match  Match
	Action Action
	Needs  Facts       // without these the policy is deferred, unasked
	Refers []GroupKind // kinds of other objects of the change set that Judge looks at; {"*","*"} for all

	// Judge says how c breaks the policy. Its error means "could not judge", never "no"; a *NeedError means "not at this door".
	// Safe for concurrent use.
	Judge func(ctx context.Context, c *Change) (Finding, error)
}

// Finding is the answer of a policy on a change. The zero Finding means that the change keeps the policy.
type Finding struct {
	Violations []Violation
	Evidence   []Evidence
	Skipped    string // why the policy has nothing to say of this change (a match condition, a selector); "" when it judged
}

// Violation is one way in which a change breaks a policy.
type Violation struct {
	Rule    string   // the rule's id inside the policy; "" when the policy is one rule
	Message string   // names the thing and says what was expected; no final stop
	Path    Path     // the field of the stored object; nil for the whole object
	At      Aspect   // whether the field's name or its value is wrong
	Fix     string   // what to do, in the imperative; "" when the message says it
	Reason  string   // the API status reason that the policy's own language gives (Invalid, Forbidden); "" for none
	Before  bool     // the object before the change breaks it too; false where that is not known
	Warning bool     // at most a warning, whatever the policy's action: what the policy's own language says
	URL     string   // where more is said of this rule; "" for the policy's
	Pos     Position // filled by Decide from Path unless the policy set it
}

// Evidence is a fact that a finding rests on, for records and auditors.
type Evidence struct {
	Kind  string // "commit", "signer", "builder", "param" …
	Value string
}

// NeedError is the error of a Judge that found out, while judging, that this door does not know what it needs.
type NeedError struct {
	Facts Facts
	What  string // the thing itself: "labels of namespace shop"
}

func (e *NeedError) Error() string { return "needs " + e.What }

// Document is one policy document or one file of a policy language, as bundle hands it to a kind.
type Document struct {
	File   string  // slash-separated path in the bundle's file system
	Text   []byte  // the whole file for a language of its own (Rego, a JSON Schema); nil for a YAML document
	Object *Object // the decoded YAML or JSON document; nil for other languages
}

// Compiler makes policies of all documents of one kind at once. It refuses what it does not support in full: the error names
// file, line and column (see ErrorAt) and every document that is wrong, not the first (errors.Join).
type Compiler func(ctx context.Context, docs []Document) ([]*Policy, error)

// PositionError is an error at a place of a text: a policy that does not compile, an unknown field of gitgate.yaml.
type PositionError struct {
	Pos Position
	Err error
}

// ErrorAt says that err is at pos.
func ErrorAt(pos Position, err error) error { return &PositionError{Pos: pos, Err: err} }

func (e *PositionError) Error() string {
	switch {
	case e.Pos.Line == 0:
		return fmt.Sprintf("%s: %v", e.Pos.File, e.Err)
	case e.Pos.Column == 0:
		return fmt.Sprintf("%s:%d: %v", e.Pos.File, e.Pos.Line, e.Err)
	default:
		return fmt.Sprintf("%s:%d:%d: %v", e.Pos.File, e.Pos.Line, e.Pos.Column, e.Err)
	}
}

func (e *PositionError) Unwrap() error { return e.Err }

// Exemption takes objects out of policies, for a reason and until a day. It lives in gitgate.yaml: an object cannot exempt
// itself. An empty list matches everything; the patterns are those of path.Match.
type Exemption struct {
	Policies   []string // "name" or "name/rule"
	Namespaces []string
	Kinds      []string // "Deployment" or "Deployment.apps"
	Names      []string
	Reason     string
	Until      time.Time // the first instant at which it no longer holds; zero for never
	Pos        Position  // where it is written
}

// Mode gives policies another action on some objects, so that a cluster is adopted step by step. It lives in gitgate.yaml. An
// empty list matches everything; the patterns are those of path.Match. Of several that match, the first counts.
type Mode struct {
	Policies   []string // names
	Namespaces []string
	Kinds      []string // "Deployment" or "Deployment.apps"
	Action     Action
	Pos        Position // where it is written
}
