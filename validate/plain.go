package validate

import (
	"context"
	"fmt"
	"io"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// readPlain reads a file as documents. The error says why it cannot be read.
func readPlain(o *Options, w *walker, f file) ([]*policies.Object, []manifest.Problem, error) {
	in, _, err := w.open(f)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	most := o.Limits.Document
	if most <= 0 {
		most = manifest.DefaultLimits().Document
	}
	text, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	switch {
	case err != nil:
		return nil, nil, cause(err)
	case len(text) > most:
		return nil, []manifest.Problem{{
			Rule: manifest.RuleTooLarge, Pos: policies.Position{File: f.name},
			Message: fmt.Sprintf("document is larger than %d bytes, expected less", most), Fix: "raise limits.documentSize in gitgate.yaml",
		}}, nil
	}
	objects, problems := o.Plain.Parse(f.name, text, o.Limits)
	return objects, problems, nil
}

// collectPlain is collect for documents: they are kept when a policy looks at all of them together.
func collectPlain(ctx context.Context, o *Options, w *walker) (*kept, error) {
	k := &kept{}
	var objects []*policies.Object
	if newWanted(o.Engine).all {
		for _, f := range w.files {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if f.hidden {
				continue
			}
			found, _, err := readPlain(o, w, f) // what is wrong with it is told by the second pass
			if err == nil {
				objects = append(objects, found...)
			}
		}
	}
	k.set = policies.NewSet(objects...)
	return k, nil
}

// document judges the documents of file i.
func (r *run) document(ctx context.Context, i int) []outcome {
	f := r.walker.files[i]
	if f.hidden {
		return []outcome{skipped(f.name, "hidden: name it to have it checked")}
	}
	objects, problems, err := readPlain(r.options, r.walker, f)
	if err != nil {
		return []outcome{unreadable(f.name, err)}
	}
	if len(objects) == 0 && len(problems) == 0 {
		return []outcome{skipped(f.name, "it holds no document")}
	}
	var out []outcome
	for _, p := range problems {
		out = append(out, malformed(p))
	}
	for _, o := range objects {
		out = append(out, r.plain(ctx, o))
	}
	return out
}

// plain judges one document.
func (r *run) plain(ctx context.Context, o *policies.Object) (out outcome) {
	defer func() {
		if v := recover(); v != nil {
			out = panicked(o, v)
		}
	}()
	c := &policies.Change{Operation: policies.Create, Object: o, Plain: true, Set: r.kept.set, Knows: policies.KnowsNamespace}
	if r.options.Online {
		c.Knows |= policies.Online
	}
	return outcome{object: o, decision: r.options.Engine.Decide(ctx, c)}
}
