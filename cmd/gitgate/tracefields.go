package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gitgate.dev/gitgate/desired"
	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/trust"
	"gitgate.dev/gitgate/policies"
)

// tracer finds the places and commits of fields.
type tracer struct {
	r      *revisions
	blamer *desired.Blamer
	signed map[string]*traceCommit

	rulesOf func(source string) (*trust.Rules, error) // nil rules for a source that asks for none
	rules   map[string]*trust.Rules
}

func (t *tracer) describe(ctx context.Context, d *desired.Declared, head git.Hash, only string) (*traceOutput, error) {
	o := d.Object
	out := &traceOutput{
		Revision: string(head), APIVersion: o.Kind.APIVersion(), Kind: o.Kind.Kind, Namespace: d.Key.Namespace, Name: d.Key.Name,
		Source: d.Unit.Source, Unit: d.Unit.String(), By: d.Unit.Actor, File: o.Origin.File, Line: max(o.Origin.Line, 1), Fields: []traceField{},
	}
	var wanted policies.Path
	if only != "" {
		wanted = policies.ParsePath(only)
		if _, ok := policies.Lookup(o.Settled(), wanted); !ok {
			return nil, exitWith(exitDenied, fmt.Errorf("%s has no field %s", o, only))
		}
	}
	secret := o.Kind.GroupKind() == policies.GroupKind{Kind: "Secret"}
	var newest time.Time
	var in string // source of the newest commit
	for _, leaf := range leaves(o.Settled(), nil) {
		if leaf.path[0] == "status" || len(leaf.path) < len(wanted) || !slices.Equal(leaf.path[:len(wanted)], wanted) {
			continue
		}
		f := traceField{Path: leaf.path.String(), Value: leaf.value}
		if secret && hidden(leaf.path) {
			f.Value = masked
		}
		_, rendered := policies.Lookup(o.Map(), leaf.path)
		blame, pos, source, err := t.blamer.Field(ctx, d, leaf.path)
		if rendered && source != d.Unit.Source {
			f.Source = source
		}
		switch {
		case ctx.Err() != nil:
			return nil, exitWith(exitUnjudged, errInterrupted)
		case !rendered:
			f.Default = true
		case err != nil:
			f.File, f.Line = pos.File, pos.Line // what is generated has no line of its own
		default:
			f.File, f.Line = pos.File, pos.Line
			if f.Commit, err = t.commit(ctx, source, blame.Commit); err != nil {
				return nil, err
			}
			later := blame.Commit.Time.After(newest)
			if out.Commit != nil && blame.Commit.Time.Equal(newest) && f.Commit.Hash != out.Commit.Hash && source == in {
				if later, err = t.r.repos[source].IsAncestor(ctx, git.Hash(out.Commit.Hash), git.Hash(f.Commit.Hash)); err != nil {
					return nil, exitWith(exitUnjudged, err)
				}
			}
			if later {
				newest, out.Commit, in = blame.Commit.Time, f.Commit, source
			}
		}
		out.Fields = append(out.Fields, f)
	}
	return out, nil
}

// commit is what is told of a commit, with the state of its signature where the source asks for one.
func (t *tracer) commit(ctx context.Context, source string, c policies.Commit) (*traceCommit, error) {
	if known := t.signed[c.Hash]; known != nil {
		return known, nil
	}
	out := &traceCommit{Hash: c.Hash, Author: c.Author, Date: c.Time.UTC().Format("2006-01-02"), Subject: c.Subject}
	rules, known := t.rules[source]
	if !known {
		var err error
		if rules, err = t.rulesOf(source); err != nil {
			return nil, err
		}
		t.rules[source] = rules
	}
	if rules != nil {
		full, err := t.r.repos[source].Commit(ctx, git.Hash(c.Hash))
		if err != nil {
			return nil, exitWith(exitUnjudged, err)
		}
		e, err := rules.Commit(ctx, t.r.repos[source], full)
		if err != nil {
			return nil, exitWith(exitUnjudged, err)
		}
		out.State, out.Signer = e.State.String(), e.Signer
	}
	t.signed[c.Hash] = out
	return out, nil
}

type leaf struct {
	path  policies.Path
	value any
}

// leaves lists the fields that hold no others, sorted by key.
func leaves(v any, at policies.Path) []leaf {
	var out []leaf
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out = append(out, leaves(v[k], at.Append(k))...)
		}
	case []any:
		for i, item := range v {
			out = append(out, leaves(item, at.Append(i))...)
		}
	}
	if len(out) == 0 && len(at) > 0 {
		return []leaf{{at, v}}
	}
	return out
}
