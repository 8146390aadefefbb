package trace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// unknown answers a reconciler's change to an object that no accepted commit declares.
func (r *review) unknown() (policies.Finding, error) {
	if unit, reason := r.opaqueUnit(); reason != nil {
		return policies.Finding{}, fmt.Errorf("no accepted commit is known to declare %s, and whether %s does is not known: %w", r.name(), unit, reason)
	}
	v := policies.Violation{
		Rule:    RuleObject,
		Message: fmt.Sprintf("%s is declared by no accepted commit", r.name()),
		Fix:     "commit its manifest to a folder that a declared unit applies, and merge",
	}
	if hints := r.hints(); len(hints) > 0 {
		v.Message += "; " + strings.Join(hints, "; ")
	}
	return r.refuse(v), nil
}

// hints say what comes nearest to an object that nothing declares.
func (r *review) hints() []string {
	var out []string
	if r.c.Object != nil {
		for _, u := range marksOf(r.c.Object) {
			switch unit, ok := r.j.findUnit(u); {
			case !ok:
				out = append(out, fmt.Sprintf("it names %s as its unit, which Git does not declare", u))
			case !r.mayWrite(unit):
				out = append(out, fmt.Sprintf("it names %s as its unit, which %s applies", unit, r.applier(unit)))
			}
		}
	}
	return append(out, r.unheard()...)
}

// unheard says of a service account that writes as reconcilers do that Git does not declare it as one.
func (r *review) unheard() []string {
	account, _ := r.account()
	if !r.mayApply() || r.applies() {
		return nil
	}
	return []string{"no Kustomization, HelmRelease or AppProject that Git declares takes the service account " + account}
}

// withHeld adds to a refusal which sources are held: what is written may be what a commit declares that is not accepted.
func (r *review) withHeld(f policies.Finding) policies.Finding {
	for _, h := range r.j.Index.Held() {
		if len(f.Violations) > 0 {
			f.Violations[0].Message += fmt.Sprintf("; new commits of source %s are not accepted: %s", h.Source, h.Reason)
		}
	}
	return f
}

// findUnit looks for a unit that marks name. The marks of Argo CD need not name the namespace of the Application.
func (j *judge) findUnit(u policies.Unit) (policies.Unit, bool) {
	if u.Kind != "Application" || u.Namespace != "" {
		return j.Index.Unit(u.Kind, u.Namespace, u.Name)
	}
	for user, id := range j.reconcilers {
		if id.account != "argocd-application-controller" {
			continue
		}
		namespace, _, _ := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
		if unit, ok := j.Index.Unit(u.Kind, namespace, u.Name); ok {
			return unit, true
		}
	}
	return policies.Unit{}, false
}

// opaqueUnit returns a unit that may declare the object and cannot be rendered, and why it cannot. The marks of the object narrow
// the search: an object that names a unit which can be rendered is that one's. They open nothing: the answer is that nobody knows.
func (r *review) opaqueUnit() (policies.Unit, error) {
	marks := marksOf(r.c.Subject())
	for _, o := range r.j.Index.Opaque() {
		if !r.mayWrite(o.Unit) {
			continue
		}
		named := slices.ContainsFunc(marks, func(u policies.Unit) bool {
			return u.Kind == o.Unit.Kind && u.Name == o.Unit.Name && (u.Namespace == o.Unit.Namespace || u.Namespace == "")
		})
		if len(marks) == 0 || named {
			return o.Unit, errors.New(o.What + ": " + o.Reason)
		}
	}
	return policies.Unit{}, nil
}

// untraced answers who is neither a controller, a declared writer nor a reconciler.
func (r *review) untraced(ctx context.Context) policies.Finding {
	actor, sub := r.c.Actor.User, r.c.Resource.Subresource
	var current *policies.Form
	for _, f := range r.forms() {
		if f.Current {
			current = f
			break
		}
	}
	if sub != "" && sub != "scale" {
		return r.refuse(policies.Violation{
			Rule:    RuleSubresource,
			Message: fmt.Sprintf("%s may not %s: %s", actor, r.act(), subresourceRule(sub)),
			Fix:     "add " + actor + " to writers in gitgate.yaml with subresources: [" + sub + "], or " + r.breakglass(),
		})
	}
	if x, made := controllerOf(r.c.Subject()); current == nil && made && sub == "" {
		return r.refuse(policies.Violation{
			Rule:    RuleWriter,
			Message: fmt.Sprintf("%s may not %s: %s makes it, and changes and deletes it", actor, r.act(), x),
			Fix:     "change what declares " + x.String() + " in Git and merge; or add " + actor + " to writers in gitgate.yaml; or " + r.breakglass(),
		})
	}
	if current == nil {
		return r.refuse(policies.Violation{
			Rule:    RuleObject,
			Message: fmt.Sprintf("%s may not %s: no accepted commit declares it%s", actor, r.act(), joined(r.hints())),
			Fix:     "commit its manifest and merge, so that the reconciler applies it; or add " + actor + " to writers in gitgate.yaml; or " + r.breakglass(),
		})
	}
	v := policies.Violation{
		Rule: RuleWriter, Pos: position(current, nil),
		Message: fmt.Sprintf("%s may not %s: Git declares it at %s, %s, and %s applies it%s", actor, r.act(), place(current, nil), since(current), r.applier(current.Unit), joined(r.unheard())),
		Fix:     r.mend(current, nil) + "; in an emergency: " + r.breakglass(),
	}
	if r.c.Operation == policies.Delete {
		v.Fix = "delete it in " + orGit(current) + " and merge; the reconciler will delete it in the cluster; in an emergency: " + r.breakglass()
		return r.finding(current, v)
	}
	fields := r.compared(ctx, current, &v)
	return r.finding(current, append([]policies.Violation{v}, fields...)...)
}

// compared tells what of a person's change is not what Git declares. When all is, v says so.
func (r *review) compared(ctx context.Context, f *policies.Form, v *policies.Violation) []policies.Violation {
	if r.c.Resource.Subresource == "scale" {
		replicas := policies.Path{"spec", "replicas"}
		got, _ := policies.Lookup(r.c.Object.Map(), replicas)
		declared, has := policies.Lookup(f.Object.Map(), replicas)
		switch {
		case has && Equal(got, declared):
			v.Message = r.asDeclared(f)
		case has:
			return []policies.Violation{{
				Rule: RuleField, Path: replicas, Pos: position(f, replicas), Fix: r.mend(f, replicas),
				Message: fmt.Sprintf("spec.replicas: %v is not what Git declares: %v at %s, %s", got, declared, place(f, replicas), since(f)),
			}}
		}
		return nil
	}
	m, err := r.against(ctx, f)
	if err != nil {
		return nil // what is said already refuses the change
	}
	if len(m.violations) == 0 {
		v.Message = r.asDeclared(f)
	}
	return m.violations
}

func (r *review) asDeclared(f *policies.Form) string {
	return fmt.Sprintf("%s as it is written is what %s declares at %s; %s applies it, not %s%s", r.name(), since(f), place(f, nil), r.applier(f.Unit), r.c.Actor.User, joined(r.unheard()))
}

func (r *review) finding(f *policies.Form, v ...policies.Violation) policies.Finding {
	finding := r.refuse(v...)
	finding.Evidence = append(finding.Evidence, evidenceOf(f)...)
	return finding
}

func joined(hints []string) string {
	if len(hints) == 0 {
		return ""
	}
	return "; " + strings.Join(hints, "; ")
}

// act says what the request does, for a sentence.
func (r *review) act() string {
	sub := r.c.Resource.Subresource
	switch {
	case r.c.Operation == policies.Connect:
		return sub + " to " + r.name()
	case sub == "scale":
		return "scale " + r.name()
	case sub != "":
		return "write " + sub + " of " + r.name()
	case r.c.Operation == policies.Create:
		return "create " + r.name()
	case r.c.Operation == policies.Delete:
		return "delete " + r.name()
	default:
		return "change " + r.name()
	}
}

// breakglass is the command that lets a person change the object for a while.
func (r *review) breakglass() string {
	return "gitgate breakglass open --scope " + r.key.Namespace + "/" + r.governed.Kind + "/" + r.key.Name + " --for 30m --reason WHY"
}
