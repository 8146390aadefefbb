package admission

import (
	"strings"

	"github.com/google/cel-go/common/types"

	"gitgate.dev/gitgate/policies"
)

// Needs is a set of things that a door may not know and that an answer depends on.
type Needs uint

const (
	NeedOld Needs = 1 << iota
	NeedActor
	NeedNamespace
	NeedAuthorizer
	NeedOptions
	NeedVersions
	NeedParams
	NeedAssigned
)

// Unknown is what expressions see in place of what the door does not know. CEL carries it through: an expression whose value
// hangs on it has an unknown value, and one that is decided without it has its value all the same.
func Unknown(n Needs) *types.Unknown { return types.NewUnknown(int64(n), nil) }

// NeedsOf reads what an unknown value hangs on.
func NeedsOf(u *types.Unknown) Needs {
	var n Needs
	for _, id := range u.IDs() {
		n |= Needs(id)
	}
	return n
}

// Err says what is missing to judge r. params describes the parameters, if those are.
func (n Needs) Err(r *Request, params string) error {
	var facts policies.Facts
	var what []string
	for _, need := range []struct {
		bit  Needs
		fact policies.Facts
		text string
	}{
		{NeedOld, policies.KnowsOld, "the object before the change"},
		{NeedActor, policies.KnowsActor, "who makes the change"},
		{NeedNamespace, policies.KnowsNamespace, "namespace " + r.Namespace},
		{NeedAuthorizer, policies.KnowsCluster, "what the cluster's authorizer says"},
		{NeedOptions, 0, "the options of the request"},
		{NeedVersions, policies.KnowsCluster, "the versions in which the cluster serves " + r.Kind.GroupKind().String()},
		{NeedParams, policies.KnowsCluster, params},
		{NeedAssigned, policies.KnowsCluster, "what the API server fills into the object's metadata"},
	} {
		if n&need.bit != 0 {
			facts |= need.fact
			what = append(what, need.text)
		}
	}
	return &policies.NeedError{Facts: facts, What: strings.Join(what, ", ")}
}
