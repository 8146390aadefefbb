package trace

import (
	"context"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

var (
	applicationKind    = policies.GroupKind{Group: "argoproj.io", Kind: "Application"}
	applicationSetKind = policies.GroupKind{Group: "argoproj.io", Kind: "ApplicationSet"}
	kustomizationKind  = policies.GroupKind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}
	definitionKind     = policies.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
)

// deleted judges a deletion by a reconciler: what the tip no longer declares goes when its unit prunes or is gone itself, and what
// it declares goes only where Git asks for objects to be made anew.
func (r *review) deleted(ctx context.Context) (policies.Finding, error) {
	terminating, err := r.terminating(ctx)
	if err != nil {
		return policies.Finding{}, err
	}
	if terminating {
		return pass(Reconciled, evidence("reason", "its namespace is being deleted")), nil
	}
	var former *policies.Form
	for _, f := range r.forms() {
		if r.by == nil {
			r.by = f
		}
		if f.Current && r.j.foreign(f.Unit, r.key.Namespace) && !r.mayWrite(f.Unit) {
			continue // another's, who may not write here: it keeps nobody from deleting what is his
		}
		if f.Current {
			return r.recreated(ctx, f)
		}
		if former == nil {
			former = f
		}
	}
	if unit, reason := r.opaqueUnit(); reason != nil {
		return policies.Finding{}, fmt.Errorf("%s carries the marks of %s, and whether that still declares it is not known: %w", r.name(), unit, reason)
	}
	if gone, err := r.ownerGoing(ctx); err != nil {
		return policies.Finding{}, err
	} else if gone {
		return pass(Reconciled, evidence("reason", "its owner is being deleted")), nil
	}
	if former != nil {
		if r.j.Applied != nil && !r.c.DryRun {
			r.j.Applied.Last(former.Source, former.Unit) // it is seen now how far the unit has come, and remembered
		}
		return r.prunes(former.Unit, evidenceOf(former))
	}
	if unit, ok := r.marked(); ok {
		return r.prunes(unit, evidence("unit", unit.String()))
	}
	return r.refuse(policies.Violation{
		Rule:    RuleDelete,
		Message: fmt.Sprintf("%s was declared by no accepted commit, and carries no mark of a unit that applied it: it is not for %s to delete", r.name(), r.c.Actor.User),
		Fix:     "let who made it delete it, or " + r.breakglass(),
	}), nil
}

// prunes judges the deletion of what a unit declared once. The unit is as the tip has it, or as it was.
func (r *review) prunes(was policies.Unit, proof []policies.Evidence) (policies.Finding, error) {
	now, declared := r.j.Index.Unit(was.Kind, was.Namespace, was.Name)
	unit := was
	if declared {
		unit = now
	}
	switch {
	case !r.mayWrite(unit) && !r.mayWrite(was):
		return r.refuse(policies.Violation{
			Rule:    RuleWriter,
			Message: fmt.Sprintf("%s was applied by %s, which %s does not apply: %s does", r.name(), was, r.c.Actor.User, r.applier(unit)),
		}), nil
	case r.kept(declared):
		return r.refuse(policies.Violation{
			Rule:    RuleDelete,
			Message: fmt.Sprintf("Git no longer declares %s, but it says of itself that it is to be kept: its reconciler would not delete it", r.name()),
			Fix:     "take the mark away in Git, let it be applied, and then the object; or " + r.breakglass(),
		}), nil
	case declared && !now.Prune && !r.byHand(now):
		return r.refuse(policies.Violation{
			Rule:    RuleDelete,
			Message: fmt.Sprintf("Git no longer declares %s, but %s does not prune", r.name(), now),
			Fix:     "let the unit prune, or " + r.breakglass(),
		}), nil
	}
	return pass(Reconciled, append(proof, policies.Evidence{Kind: "reason", Value: "Git no longer declares it"})), nil
}

// kept says whether the live object carries a mark by which its reconciler lets it stay when Git no longer declares it.
func (r *review) kept(unitStays bool) bool {
	options := syncOptions(r.c.Old)
	if hasOption(options, "Prune=false") && unitStays || hasOption(options, "Delete=false") && !unitStays {
		return true
	}
	const flux = "kustomize.toolkit.fluxcd.io/prune"
	return strings.EqualFold(text(r.c.Old, "metadata", "annotations", flux), "disabled") || strings.EqualFold(text(r.c.Old, "metadata", "labels", flux), "disabled")
}

// byHand says whether a unit is an Application that a person synchronises: who starts a sync says then whether it prunes.
func (r *review) byHand(u policies.Unit) bool {
	if u.Kind != applicationKind.Kind {
		return false
	}
	for _, f := range r.unitForms(u) {
		automated, _ := policies.Lookup(f.Object.Map(), policies.Path{"spec", "syncPolicy", "automated"})
		enabled, said := asMap(automated)["enabled"]
		if automated != nil && (!said || enabled != false) {
			return false
		}
	}
	return len(r.unitForms(u)) > 0
}

func hasOption(options, want string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if strings.TrimSpace(option) == want {
			return true
		}
	}
	return false
}

// recreated judges the deletion of what the tip declares. It is let in when Git itself says that the object may be made anew, and,
// but for what is made anew each time, when the live object is not what is declared: a reconciler deletes only what it could not change.
func (r *review) recreated(ctx context.Context, f *policies.Form) (policies.Finding, error) {
	still := policies.Violation{
		Rule: RuleDelete, Pos: position(f, nil),
		Message: fmt.Sprintf("%s is still declared at %s, %s (%s)", r.name(), place(f, nil), since(f), f.Unit),
		Fix:     "delete it in " + orGit(f) + " and merge; the reconciler will delete it in the cluster",
	}
	if !r.mayWrite(f.Unit) {
		return r.refuse(still), nil
	}
	switch {
	case isHook(f.Object):
		return pass(Reconciled, append(evidenceOf(f), policies.Evidence{Kind: "reason", Value: "Git declares it as a hook"})), nil
	case r.replacedByForce(f):
		return pass(Reconciled, append(evidenceOf(f), policies.Evidence{Kind: "reason", Value: "Git has it replaced by force at each sync"})), nil
	case !r.forced(f):
		return r.refuse(still), nil
	}
	differs, err := r.drifted(ctx, f)
	if err != nil {
		return policies.Finding{}, err
	}
	if !differs {
		still.Message += ", and is what Git declares: there is nothing to make anew"
		return r.refuse(still), nil
	}
	return pass(Reconciled, append(evidenceOf(f), policies.Evidence{Kind: "reason", Value: "Git lets it be made anew"})), nil
}

// drifted says whether the live object lacks something that is declared, or has something that an accepted commit declared and the
// tip does not. What controllers and people added to it is no reason to make it anew.
func (r *review) drifted(ctx context.Context, f *policies.Form) (bool, error) {
	live := &review{j: r.j, c: &policies.Change{
		Operation: policies.Create, Resource: r.c.Resource, Namespaced: r.c.Namespaced, Object: r.c.Old, Actor: r.c.Actor, Namespace: r.c.Namespace, Holder: r.c.Holder, Knows: r.c.Knows,
	}, key: r.key, governed: r.governed}
	stored, err := live.stored(f)
	if err != nil {
		return false, err
	}
	expected, err := live.completed(ctx, f, stored)
	if err != nil {
		return false, err
	}
	for _, d := range Compare(Content{Declared: expected, New: r.c.Old.Map(), Lists: r.lists(), Opaque: opaque(f)}) {
		if d.Cause != NotDeclared || r.everDeclared(d.Path) {
			return true, nil
		}
	}
	return false, nil
}

func orGit(f *policies.Form) string {
	if p := place(f, nil); p != "" {
		return p
	}
	return "Git"
}

// forced says whether Git lets an object be deleted and made again where it cannot be changed.
func (r *review) forced(f *policies.Form) bool {
	note := text(f.Object, "metadata", "annotations", "kustomize.toolkit.fluxcd.io/force")
	if strings.EqualFold(note, "enabled") || note == "true" || hasOption(syncOptions(f.Object), "Force=true") {
		return true
	}
	for _, u := range r.unitForms(f.Unit) {
		if forced, _ := policies.Lookup(u.Object.Map(), policies.Path{"spec", "force"}); forced == true {
			return true
		}
	}
	return false
}

// replacedByForce says whether Argo CD deletes an object at each sync and makes it again, changed or not: its options Replace=true and
// Force=true together. Definitions of custom resources and Namespaces it updates all the same.
func (r *review) replacedByForce(f *policies.Form) bool {
	if f.Unit.Kind != applicationKind.Kind || r.governed == namespaceKind || r.governed == definitionKind || !hasOption(syncOptions(f.Object), "Force=true") {
		return false
	}
	return hasOption(syncOptions(f.Object), "Replace=true") || r.synced(f.Unit, "Replace=true")
}

// synced says whether the Application that is a unit has an option for its syncs, as Git declares it.
func (r *review) synced(u policies.Unit, option string) bool {
	if u.Kind != applicationKind.Kind {
		return false
	}
	for _, f := range r.unitForms(u) {
		if options, _ := policies.Lookup(f.Object.Map(), policies.Path{"spec", "syncPolicy", "syncOptions"}); contains(asList(options), option) {
			return true
		}
	}
	return false
}

// syncOptions are those of Argo CD that an object has for itself.
func syncOptions(o *policies.Object) string {
	return text(o, "metadata", "annotations", "argocd.argoproj.io/sync-options")
}

// isHook says whether an object is declared to be made for a moment.
func isHook(o *policies.Object) bool {
	return text(o, "metadata", "annotations", "argocd.argoproj.io/hook") != "" || text(o, "metadata", "annotations", "helm.sh/hook") != ""
}

// unitForms are the current forms of the object that declares a unit.
func (r *review) unitForms(u policies.Unit) []*policies.Form {
	gk := map[string]policies.GroupKind{
		"Kustomization": kustomizationKind, "HelmRelease": helmReleaseKind, "Application": applicationKind,
	}[u.Kind]
	if gk.Kind == "" {
		return nil
	}
	var out []*policies.Form
	for _, f := range r.j.Index.Lookup(policies.Key{GroupKind: gk, Namespace: u.Namespace, Name: u.Name}) {
		if f.Current {
			out = append(out, f)
		}
	}
	return out
}

// terminating says whether the object's namespace is being deleted.
func (r *review) terminating(ctx context.Context) (bool, error) {
	if r.key.Namespace == "" {
		return false, nil
	}
	going := func(o *policies.Object) bool { return o != nil && text(o, "metadata", "deletionTimestamp") != "" }
	if going(r.c.Holder) {
		return true, nil
	}
	live, err := r.live(ctx, Ref{Kind: policies.GroupVersionKind{Version: "v1", Kind: "Namespace"}, Name: r.key.Namespace}, going)
	return going(live), err
}

// ownerGoing says whether an owner of the object is being deleted, or gone.
func (r *review) ownerGoing(ctx context.Context) (bool, error) {
	for _, owner := range ownersOf(r.c.Old) {
		state, err := r.ownerState(ctx, owner)
		if err != nil || state != ownerStays {
			return err == nil, err
		}
	}
	return false, nil
}

// marked returns the unit whose marks the object carries: the live one, which only a reconciler could mark, never the one that is
// written.
func (r *review) marked() (policies.Unit, bool) {
	if r.c.Old == nil {
		return policies.Unit{}, false
	}
	for _, u := range marksOf(r.c.Old) {
		if unit, ok := r.j.findUnit(u); ok {
			return unit, true
		}
	}
	for _, u := range marksOf(r.c.Old) {
		return u, true
	}
	return policies.Unit{}, false
}

// marksOf reads the marks that Flux and Argo CD put on what they apply.
func marksOf(o *policies.Object) []policies.Unit {
	label := func(key string) string { return text(o, "metadata", "labels", key) }
	var out []policies.Unit
	for group, kind := range map[string]string{"kustomize.toolkit.fluxcd.io": "Kustomization", "helm.toolkit.fluxcd.io": "HelmRelease"} {
		if name, namespace := label(group+"/name"), label(group+"/namespace"); name != "" && namespace != "" {
			out = append(out, policies.Unit{Kind: kind, Namespace: namespace, Name: name})
		}
	}
	if app, _, ok := strings.Cut(text(o, "metadata", "annotations", trackingID), ":"); ok && app != "" {
		namespace, name, in := strings.Cut(app, "_")
		if !in {
			namespace, name = "", app
		}
		out = append(out, policies.Unit{Kind: "Application", Namespace: namespace, Name: name})
	}
	return out
}

const trackingID = "argocd.argoproj.io/tracking-id"
