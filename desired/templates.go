package desired

import (
	"context"

	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// template is what finds the fields of an entry in the template that made it; nil for one that no template made. Where fields lie
// in templates takes more memory than the objects themselves, so it is not kept: the unit is rendered once more when it is asked.
func (s *State) template(u *Unit, e *entry) func(context.Context) policies.Source {
	if e.place.document >= 0 || u.Kind != kindHelmRelease.Kind && u.Kind != kindApplication.Kind {
		return nil
	}
	return func(ctx context.Context) policies.Source {
		u.result.again.Do(func() { u.result.templates = s.renderTemplates(ctx, u) })
		content, err := e.words.Unpack(e.content)
		if err != nil {
			return nil
		}
		return u.result.templates[identity(content)]
	}
}

// renderTemplates renders a unit of the state again for where its fields are.
func (s *State) renderTemplates(ctx context.Context, u *Unit) map[string]policies.Source {
	owners := s.owners(u.key())
	if len(owners) == 0 {
		return nil
	}
	from := owners[0]
	object := s.object(from.unit, from.entry)
	d := &declaration{id: u.id(), object: from.entry.content, source: from.unit.Source, from: object, place: from.entry.place}
	in := &reader{trees: s.trees, views: map[string]*tree.View{}, found: map[policies.Key][]byte{}, find: func(key policies.Key) *entry {
		if o := s.owners(key); len(o) > 0 {
			return o[0].entry
		}
		return nil
	}}
	out, err := s.renderer.renderDeclaration(ctx, d, in)
	if err != nil {
		return nil
	}
	sources := make(map[string]policies.Source, len(out.objects))
	for _, o := range out.objects {
		if _, err := normal(o.content); err == nil && o.source != nil {
			sources[identity(o.content)] = o.source
		}
	}
	return sources
}

// identity tells the objects of one unit apart.
func identity(content map[string]any) string {
	o := policies.NewObject(content, policies.Origin{}, nil, nil)
	return o.Kind.APIVersion() + " " + o.Kind.Kind + " " + o.Namespace + "/" + o.Name
}
