package breakglass

import (
	"context"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// PolicyName is the name of the policy that judges grants.
const PolicyName = "breakglass"

// Policy judges who may make, approve, change and delete grants: a person for themself, another one as approver, nobody for a
// service account, for no longer than r allows. The API server asks its own permissions before; this asks for what they cannot say.
// find returns the grant of a name that the cluster has.
func Policy(r Rules, find func(name string) (*Grant, bool)) *policies.Policy {
	return &policies.Policy{
		Name: PolicyName, Kind: PolicyName, Severity: policies.Critical,
		Doc:   "A break-glass grant is made by the person who uses it, for a short time and a reason, approved by others, and never extended",
		Rules: []string{"person", "duration", "scope", "approver", "immutable"},
		Needs: policies.KnowsActor | policies.KnowsOld,
		Match: policies.Match{
			Resources:  []policies.ResourceRule{{Groups: []string{Group}, Versions: []string{"*"}, Resources: []string{GrantResource, ApprovalResource}}},
			Operations: []policies.Operation{policies.Create, policies.Update},
			NoPods:     true,
		},
		Judge: func(_ context.Context, c *policies.Change) (policies.Finding, error) {
			if c.Object == nil || c.Actor == nil {
				return policies.Finding{}, fmt.Errorf("request is incomplete: the object and who makes the change are not known")
			}
			var found []policies.Violation
			switch c.Object.Kind.GroupKind() {
			case GrantKind:
				found = judgeGrant(r, c)
			case ApprovalKind:
				found = judgeApproval(c, find)
			}
			return policies.Finding{Violations: found}, nil
		},
	}
}

func judgeGrant(r Rules, c *policies.Change) []policies.Violation {
	g, err := ParseGrant(c.Object)
	if err != nil {
		return []policies.Violation{{Rule: "scope", Message: err.Error(), Path: policies.Path{"spec"}}}
	}
	if c.Operation == policies.Update {
		return judgeChange(c, g)
	}
	var found []policies.Violation
	if bad := notAPerson(c.Actor.User, g.Person, "person"); bad != nil {
		found = append(found, *bad)
	}
	if g.Duration > r.maximum() {
		found = append(found, policies.Violation{
			Rule: "duration", Path: policies.Path{"spec", "duration"},
			Message: fmt.Sprintf("a grant lasts at most %s here, not %s", r.maximum(), g.Duration),
		})
	}
	return found
}

// judgeChange lets a grant be closed and nothing else. The CustomResourceDefinition says the same to the API server.
func judgeChange(c *policies.Change, g *Grant) []policies.Violation {
	if c.Old == nil {
		return []policies.Violation{{Rule: "immutable", Message: "the grant before the change is not known", Path: policies.Path{"spec"}}}
	}
	old, err := ParseGrant(c.Old)
	if err != nil {
		return []policies.Violation{{Rule: "immutable", Message: fmt.Sprintf("what grants nothing stays so: %v", err), Path: policies.Path{"spec"}}}
	}
	same := old.Person == g.Person && old.Reason == g.Reason && old.Duration == g.Duration && len(old.Scope) == len(g.Scope)
	for i := range g.Scope {
		same = same && i < len(old.Scope) && old.Scope[i] == g.Scope[i]
	}
	if same && (!old.Closed || g.Closed) {
		return nil
	}
	return []policies.Violation{{
		Rule: "immutable", Path: policies.Path{"spec"},
		Message: "a grant is closed, not changed", Fix: "open another one, with its own reason",
	}}
}

func judgeApproval(c *policies.Change, find func(string) (*Grant, bool)) []policies.Violation {
	if c.Operation == policies.Update {
		return []policies.Violation{{Rule: "immutable", Path: policies.Path{"spec"}, Message: "an approval is not changed"}}
	}
	a, err := ParseApproval(c.Object)
	if err != nil {
		return []policies.Violation{{Rule: "approver", Message: err.Error(), Path: policies.Path{"spec"}}}
	}
	var found []policies.Violation
	if bad := notAPerson(c.Actor.User, a.Approver, "approver"); bad != nil {
		found = append(found, *bad)
	}
	if g, ok := find(a.Grant); ok && g.Person == a.Approver {
		found = append(found, policies.Violation{
			Rule: "approver", Path: policies.Path{"spec", "approver"},
			Message: fmt.Sprintf("%s asks for the grant and cannot approve it: expected another person", a.Approver),
		})
	}
	return found
}

// notAPerson says what is wrong with a name that has to be the actor's own, and a person's: a service account whose token is
// stolen would let itself in.
func notAPerson(actor, name, field string) *policies.Violation {
	v := policies.Violation{Rule: field, Path: policies.Path{"spec", field}}
	switch {
	case name != actor:
		v.Message = fmt.Sprintf("%q makes this for %q: expected spec.%s to be who makes it", actor, name, field)
	case isSystem(actor):
		v.Message = fmt.Sprintf("%q is no person: service accounts and the cluster's own identities get no grant and approve none", actor)
	default:
		return nil
	}
	return &v
}

// isSystem says whether a user is a service account or one of the cluster's own identities.
func isSystem(user string) bool { return strings.HasPrefix(user, "system:") }
