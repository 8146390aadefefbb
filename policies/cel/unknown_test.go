package cel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/cel"
)

// atPoorDoor is c at a door that does not know some of the facts.
func atPoorDoor(c *policies.Change, lacks policies.Facts) *policies.Change {
	poor := &policies.Change{
		Operation: c.Operation, Resource: c.Resource, Namespaced: c.Namespaced, Object: c.Object, Old: c.Old, Actor: c.Actor,
		Namespace: c.Namespace, Holder: c.Holder, DryRun: c.DryRun, Options: c.Options, Knows: c.Knows &^ lacks, Set: c.Set,
	}
	if lacks.Has(policies.KnowsActor) {
		poor.Actor = nil
	}
	if lacks.Has(policies.KnowsNamespace) {
		poor.Holder = nil
	}
	if lacks.Has(policies.KnowsOld) {
		poor.Old = nil
	}
	return poor
}

// TestWhatIsSaidWithLessKnowledgeHoldsWithMore: a door that knows less may only say less, never another thing.
func TestWhatIsSaidWithLessKnowledgeHoldsWithMore(t *testing.T) {
	t.Parallel()
	rounds := 250
	if testing.Short() {
		rounds = 60
	}
	definite := 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		text := randomPolicy(r)
		if strings.Contains(text, "objectSelector") {
			continue // an old object that is not known is taken to have the labels of the new one
		}
		compiled, err := cel.Compiler(cel.Options{API: testAPI{}})(context.Background(), documents(t, "p.yaml", text))
		if err != nil {
			continue
		}
		for range 6 {
			c := randomChange(t, r)
			lacks := []policies.Facts{policies.KnowsActor, policies.KnowsNamespace, policies.KnowsActor | policies.KnowsNamespace}[r.IntN(3)]
			if c.Operation == policies.Update {
				lacks |= policies.KnowsOld
			}
			poor := atPoorDoor(c, lacks)
			if lacks.Has(policies.KnowsOld) {
				poor.Operation = policies.Create
			}
			finding, err := compiled[0].Judge(context.Background(), poor)
			full, fullErr := compiled[0].Judge(context.Background(), c)
			var need *policies.NeedError
			if errors.As(err, &need) {
				continue
			}
			definite++
			ok := true
			switch {
			case lacks.Has(policies.KnowsOld) && (err != nil || len(finding.Violations) > 0):
				// It is told of a creation, which this update is not.
			case err != nil:
				ok = fullErr != nil
			case len(finding.Violations) > 0:
				ok = fullErr == nil && len(full.Violations) > 0 && contains(told(full, nil), told(finding, nil))
			default:
				ok = fullErr == nil && len(full.Violations) == 0
			}
			if !ok {
				t.Fatalf("%s %s without %v:\nsaid %s\nwith all known %s\n%s", c.Operation, c.Subject(), lacks.Names(), told(finding, err), told(full, fullErr), text)
			}
		}
	}
	if definite < rounds {
		t.Errorf("only %d answers were definite", definite)
	}
}

// contains says whether every line of part is in whole.
func contains(whole, part string) bool {
	for _, line := range strings.Split(part, "\n") {
		if !strings.Contains(whole, line) {
			return false
		}
	}
	return true
}
