package cel

import (
	"strings"

	"github.com/google/cel-go/common/types"

	"gitgate.dev/gitgate/policies"
)

// needs is a set of things that a door may not know and that an answer depends on.
type needs uint

const (
	needOld needs = 1 << iota
	needActor
	needNamespace
	needAuthorizer
	needOptions
	needVersions
	needParams
	needAssigned
)

// unknown is what expressions see in place of what the door does not know. CEL carries it through: an expression whose value
// hangs on it has an unknown value, and one that is decided without it has its value all the same.
func unknown(n needs) *types.Unknown { return types.NewUnknown(int64(n), nil) }

// needsOf reads what an unknown value hangs on.
func needsOf(u *types.Unknown) needs {
	var n needs
	for _, id := range u.IDs() {
		n |= needs(id)
	}
	return n
}

// err says what is missing to judge r. params describes the parameters, if those are.
func (n needs) err(r *request, params string) error {
	var facts policies.Facts
	var what []string
	for _, need := range []struct {
		bit  needs
		fact policies.Facts
		text string
	}{
		{needOld, policies.KnowsOld, "the object before the change"},
		{needActor, policies.KnowsActor, "who makes the change"},
		{needNamespace, policies.KnowsNamespace, "namespace " + r.namespace},
		{needAuthorizer, policies.KnowsCluster, "what the cluster's authorizer says"},
		{needOptions, 0, "the options of the request"},
		{needVersions, policies.KnowsCluster, "the versions in which the cluster serves " + r.kind.GroupKind().String()},
		{needParams, policies.KnowsCluster, params},
		{needAssigned, policies.KnowsCluster, "what the API server fills into the object's metadata"},
	} {
		if n&need.bit != 0 {
			facts |= need.fact
			what = append(what, need.text)
		}
	}
	return &policies.NeedError{Facts: facts, What: strings.Join(what, ", ")}
}
