package trace

import (
	"context"
	"strings"

	"gitgate.dev/gitgate/policies"
)

var helmReleaseKind = policies.GroupKind{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}

// recordsReleases is what a service account does that a declared HelmRelease takes, beside applying the release: Flux's helm-controller
// keeps its records as the account too.
func recordsReleases() []duty {
	return []duty{on("secrets", "cud", "records the releases of Helm", releaseRecord)}
}

// takesReleases says whether the actor is the service account of a declared HelmRelease, or was that of one which is to go.
func (r *review) takesReleases() bool {
	account, ok := r.account()
	if !ok {
		return false
	}
	for _, u := range r.j.Index.Taking(account) {
		if u.Kind == helmReleaseKind.Kind {
			return true
		}
	}
	return false
}

// releaseRecord admits the Secrets in which Helm records the releases of declared HelmReleases, by who applies them; and that the
// records of releases which are no longer declared are brought up to date and deleted. What they hold is applied only where Git
// declares it.
func releaseRecord(_ context.Context, r *review) ([]policies.Violation, error) {
	for _, o := range []*policies.Object{r.c.Object, r.c.Old} {
		if o != nil && (text(o, "type") != "helm.sh/release.v1" || releaseOf(o.Name) == "") {
			return because("%s is no record of a release", r.name()), nil
		}
	}
	unit, declared := r.releaseUnit(releaseOf(r.key.Name))
	account, _ := r.account()
	namespace, _, _ := strings.Cut(account, ":")
	switch {
	case declared && !r.mayWrite(unit):
		return because("%s records a release of %s, which %s applies", r.name(), unit, r.applier(unit)), nil
	case declared:
		return nil, nil
	case r.c.Operation == policies.Create:
		return because("%s records the release of no declared HelmRelease that %s applies", r.name(), r.c.Actor.User), nil
	case r.j.reconcilers[r.c.Actor.User].account != "helm-controller" && namespace != r.key.Namespace:
		return because("%s records the release of no declared HelmRelease, and is in another namespace than %s", r.name(), r.c.Actor.User), nil
	}
	return nil, nil
}

const recordPrefix = "sh.helm.release.v1."

// releaseOf is the release whose record has a name; "" for a name that no record has (helm.sh/helm/v4, storage: sh.helm.release.v1.NAME.vREVISION).
func releaseOf(record string) string {
	name, ok := strings.CutPrefix(record, recordPrefix)
	at := strings.LastIndex(name, ".v")
	if !ok || at < 1 || at+2 == len(name) || strings.Trim(name[at+2:], "0123456789") != "" {
		return ""
	}
	return name[:at]
}

// releaseUnit finds the declared HelmRelease whose release is recorded under a name in the namespace of the Secret.
func (r *review) releaseUnit(release string) (policies.Unit, bool) {
	for _, f := range r.j.Index.In(helmReleaseKind, r.key.Namespace) {
		if unit, ok := r.j.Index.Unit(helmReleaseKind.Kind, r.key.Namespace, f.Object.Name); ok && r.recordedIn(f.Object, r.key.Namespace, release) {
			return unit, true
		}
	}
	account, _ := r.account()
	if r.j.reconcilers[r.c.Actor.User].account == "helm-controller" {
		account = ""
	}
	for _, u := range r.j.Index.Taking(account) {
		for _, f := range r.unitForms(u) {
			if u.Kind == helmReleaseKind.Kind && r.recordedIn(f.Object, u.Namespace, release) {
				return u, true
			}
		}
	}
	return policies.Unit{}, false
}

// longestRelease is Helm's bound of a release's name; helm-controller cuts a longer one here and adds a digest.
const (
	longestRelease = 53
	cutRelease     = 40
)

// recordedIn says whether a HelmRelease in a namespace has a release of that name, and its records where the Secret is.
func (r *review) recordedIn(o *policies.Object, namespace, release string) bool {
	if storage := text(o, "spec", "storageNamespace"); storage != "" {
		namespace = storage
	}
	name, target := o.Name, text(o, "spec", "targetNamespace")
	if named := text(o, "spec", "releaseName"); named != "" {
		name = named
	} else if target != "" {
		name = target + "-" + name
	}
	if len(name) > longestRelease {
		cut, digest := name[:cutRelease]+"-", strings.TrimPrefix(release, name[:cutRelease]+"-")
		return namespace == r.key.Namespace && strings.HasPrefix(release, cut) && len(digest) == longestRelease-cutRelease-1
	}
	return namespace == r.key.Namespace && name == release
}

// chartOfRelease admits the HelmChart that a declared HelmRelease asks for: it is named after its namespace and name. What the chart
// makes is applied only where Git declares it.
func chartOfRelease(_ context.Context, r *review) ([]policies.Violation, error) {
	for i := range r.key.Name {
		if r.key.Name[i] != '-' {
			continue
		}
		if _, ok := r.j.Index.Unit("HelmRelease", r.key.Name[:i], r.key.Name[i+1:]); ok {
			return nil, nil
		}
	}
	return because("%s is the chart of no declared HelmRelease", r.name()), nil
}
