package trace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policies"
)

// applies says whether the actor is one that applies what Git declares: a controller of a configured reconciler, or a service account
// that a declared unit takes, or that took one which declared the object.
func (r *review) applies() bool {
	if r.j.reconcilers[r.c.Actor.User].applies() {
		return true
	}
	account, ok := r.account()
	if !ok {
		return false
	}
	return len(r.j.Index.Taking(account)) > 0
}

// account is the actor as units name service accounts: NAMESPACE:NAME. ok is false for one that is none.
func (r *review) account() (account string, ok bool) {
	return strings.CutPrefix(r.c.Actor.User, "system:serviceaccount:")
}

// mayApply says whether a service account that no known unit takes may be that of one which the gate has not heard of yet: what it writes
// names a unit of Flux's in its own namespace, or an Application that is not known. It opens nothing: it is worth a look at Git.
func (r *review) mayApply() bool {
	account, ok := r.account()
	if !ok || r.c.Resource.Subresource != "" {
		return false
	}
	namespace, _, _ := strings.Cut(account, ":")
	return slices.ContainsFunc(marksOf(r.c.Subject()), func(u policies.Unit) bool {
		if u.Kind != applicationKind.Kind {
			return u.Namespace == namespace
		}
		_, known := r.j.findUnit(u)
		return !known
	})
}

// mayWrite says whether the actor is who applies a unit.
func (r *review) mayWrite(unit policies.Unit) bool {
	if unit.ServiceAccount != "" {
		if r.c.Actor.User == "system:serviceaccount:"+unit.ServiceAccount {
			return true
		}
		// Whether Argo CD impersonates is a setting that Git need not declare, and its controller may impersonate everybody: who holds
		// its token gains nothing by writing under its own name.
		if unit.Kind != "Application" {
			return false
		}
	}
	id := r.j.reconcilers[r.c.Actor.User]
	switch unit.Kind {
	case "":
		return id.applies()
	case "Kustomization":
		return id.account == "kustomize-controller"
	case "HelmRelease":
		return id.account == "helm-controller"
	case "Application":
		return id.account == "argocd-application-controller"
	case "ApplicationSet":
		return id.account == "argocd-applicationset-controller"
	}
	return false
}

// foreign says whether what a unit declares in a namespace, "" for none, is in another one than that of the service account which applies it:
// a tenant's. That it may write there, only the cluster's permissions say, and mostly it may not. So it keeps nobody from what is declared by
// who is at home there. Accounts of a reconciler's own namespace are at home everywhere.
func (j *judge) foreign(u policies.Unit, namespace string) bool {
	home, _, named := strings.Cut(u.ServiceAccount, ":")
	return named && home != namespace && !slices.ContainsFunc(j.Reconcilers, func(r Reconciler) bool { return r.Namespace == home })
}

// declaredHere are the forms in which the tip declares objects of a kind in the namespace of the object, by who is at home there.
func (r *review) declaredHere(kind policies.GroupKind) []*policies.Form {
	return slices.DeleteFunc(slices.Clone(r.j.Index.In(kind, r.key.Namespace)), func(f *policies.Form) bool { return r.j.foreign(f.Unit, r.key.Namespace) })
}

// forms are those in which accepted commits declare the object.
func (r *review) forms() []*policies.Form {
	forms := r.j.Index.Lookup(r.key)
	generate := text(r.c.Subject(), "metadata", "generateName")
	if len(forms) > 0 || generate == "" {
		return forms
	}
	unnamed := r.key
	unnamed.Name = generate + "*"
	for _, f := range r.j.Index.Lookup(unnamed) {
		if text(f.Object, "metadata", "generateName") == generate && strings.HasPrefix(r.key.Name, generate) {
			forms = append(forms, f)
		}
	}
	return forms
}

// text is the string at a path of an object; "" when there is none.
func text(o *policies.Object, path ...any) string {
	v, _ := policies.Lookup(o.Map(), path)
	s, _ := v.(string)
	return s
}

// freshness is the part of the time that is left, one in so many, which Git may not take.
const freshness = 4

// freshen looks whether Git has something newer, once for a request.
func (r *review) freshen(ctx context.Context) (changed bool, err error) {
	if r.fetched {
		return false, r.unasked
	}
	r.fetched = true
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left-left/freshness)
		defer cancel()
	}
	changed, r.unasked = r.j.Index.Fresh(ctx)
	return changed, r.unasked
}

// reconciled judges a change by a reconciler. Git is asked once whether it has something newer when nothing declares the change, and when
// what does may be older than what was applied since: another replica may know more. refused is what its own duties do not cover.
func (r *review) reconciled(ctx context.Context, refused []policies.Violation) (policies.Finding, error) {
	f, err := r.declared(ctx)
	passed := err == nil && len(f.Violations) == 0
	if passed && (r.by == nil || r.j.Applied == nil || !r.j.Applied.Ahead(r.by.Unit)) {
		return f, nil
	}
	_, freshErr := r.freshen(ctx)
	switch {
	case freshErr != nil && passed:
		return policies.Finding{}, fmt.Errorf("%s names a commit that is not known here, and whether what is known is still declared could not be asked: %w", r.by.Unit, freshErr)
	case freshErr != nil && err == nil:
		return policies.Finding{}, fmt.Errorf("accepted commits known here do not declare it (%s), and whether newer ones do could not be asked: %w", f.Violations[0].Message, freshErr)
	case freshErr == nil:
		// Also when nothing has changed: another request may have fetched it after this one was judged. What it does for a unit, too, may be
		// for one of the newer commits.
		var derivedErr error
		if refused, derivedErr = r.derived(ctx); refused == nil && derivedErr == nil {
			return pass(Derived, evidence("controller", r.c.Actor.User)), nil
		}
		r.by = nil
		f, err = r.declared(ctx)
	}
	if len(f.Violations) > 0 && f.Violations[0].Rule == RuleObject {
		for _, v := range refused {
			f.Violations[0].Message += "; " + v.Message
		}
	}
	return r.withHeld(f), err
}

// declared looks for an accepted commit that declares the change.
func (r *review) declared(ctx context.Context) (policies.Finding, error) {
	switch {
	case r.c.Resource.Subresource != "":
		return r.refuse(policies.Violation{
			Rule:    RuleSubresource,
			Message: fmt.Sprintf("%s of %s is not written by what applies Git", r.c.Resource.Subresource, r.name()),
		}), nil
	case r.c.Operation == policies.Delete:
		return r.deleted(ctx)
	}
	forms := r.forms()
	if len(forms) == 0 {
		return r.unknown()
	}
	var nearest *match
	for _, f := range forms {
		if !r.mayWrite(f.Unit) {
			continue
		}
		m, err := r.against(ctx, f)
		if err != nil {
			return policies.Finding{}, err
		}
		if len(m.violations) == 0 {
			replayed, ok, err := r.replayed(f)
			if err != nil {
				return policies.Finding{}, err
			}
			if !ok {
				r.by = f
				r.wrote(f)
				return pass(Reconciled, evidenceOf(f)), nil
			}
			m.violations, m.exact = []policies.Violation{replayed}, true
		}
		if nearest == nil || m.exact || !nearest.exact && len(m.violations) < len(nearest.violations) {
			nearest = m
		}
	}
	if nearest == nil {
		f := forms[0]
		return r.refuse(policies.Violation{
			Rule:    RuleWriter,
			Message: fmt.Sprintf("%s is declared by %s, which %s does not apply: %s does", r.name(), f.Unit, r.c.Actor.User, r.applier(f.Unit)),
			Pos:     f.Object.Locate(policies.Path{"metadata", "name"}, policies.AtValue),
		}), nil
	}
	finding := r.refuse(nearest.violations...)
	finding.Evidence = append(finding.Evidence, evidenceOf(nearest.form)...)
	return finding, nil
}
