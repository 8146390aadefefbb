package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Ask sends every case as a dry run that must not be forgiving, and returns the answers in their order. What an update replaces,
// and the CRDs of a case, are really written, each for the time that it is needed.
func (s *Server) Ask(ctx context.Context, cases []Case) ([]Answer, error) {
	answers := make([]Answer, len(cases))
	var groups [][]int // cases that share an old object stay together
	byOld := map[string]int{}
	var crds []map[string]any
	for i, c := range cases {
		crds = append(crds, c.CRDs...)
		if c.Old == nil {
			groups = append(groups, []int{i})
			continue
		}
		key := c.Base[:strings.LastIndex(c.Base, "/")] // one kind after the other: Services would take each other's ports
		if at, ok := byOld[key]; ok {
			groups[at] = append(groups[at], i)
			continue
		}
		byOld[key] = len(groups)
		groups = append(groups, []int{i})
	}
	// The rules do not know a namespace's labels, and suppose that this one allows what some kinds ask of it.
	if err := s.merge(ctx, "/api/v1/namespaces/default", `{"metadata":{"labels":{"resource.kubernetes.io/admin-access":"true"}}}`); err != nil {
		return nil, err
	}
	remove, err := s.install(ctx, crds)
	defer remove()
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b int) int { return strings.Compare(cases[a].Base, cases[b].Base) })
	}
	// No update begins before the last creation is answered: what it replaces is really there, and would make a creation fail.
	creations := slices.DeleteFunc(slices.Clone(groups), func(group []int) bool { return cases[group[0]].Old != nil })
	updates := slices.DeleteFunc(groups, func(group []int) bool { return cases[group[0]].Old == nil })
	for _, groups := range [][][]int{creations, updates} {
		if err := s.askGroups(ctx, cases, answers, groups); err != nil {
			return answers, err
		}
	}
	return answers, nil
}

// askGroups asks of groups beside each other, and returns when all are answered.
func (s *Server) askGroups(ctx context.Context, cases []Case, answers []Answer, groups [][]int) error {
	const workers = 8
	work := make(chan []int)
	errs := make(chan error, workers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range workers {
		go func() {
			var err error
			for group := range work {
				if err == nil {
					if err = s.askGroup(ctx, cases, answers, group); err != nil {
						cancel()
					}
				}
			}
			errs <- err
		}()
	}
	for _, group := range groups {
		work <- group
	}
	close(work)
	var all error
	for range workers {
		all = errors.Join(all, <-errs)
	}
	return all
}

func (s *Server) askGroup(ctx context.Context, cases []Case, answers []Answer, group []int) error {
	if cases[group[0]].Old == nil {
		i := group[0]
		answer, err := s.create(ctx, cases[i])
		if err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
		answers[i] = answer
		return nil
	}
	for len(group) > 0 {
		n := 1
		for n < len(group) && cases[group[n]].Base == cases[group[0]].Base {
			n++
		}
		if err := s.askUpdates(ctx, cases, answers, group[:n]); err != nil {
			return err
		}
		group = group[n:]
	}
	return nil
}

// askUpdates asks of updates of one object, which is there as long.
func (s *Server) askUpdates(ctx context.Context, cases []Case, answers []Answer, group []int) error {
	old := cases[group[0]].Old
	path, err := s.path(ctx, old, true)
	if err != nil {
		return err
	}
	status, body, err := s.send(ctx, http.MethodPatch, path+"?force=true&fieldManager="+manager, withAccount(old))
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s: write the object before the update: %d %s", cases[group[0]].Base, status, body)
	}
	defer s.delete(ctx, path)
	if old["kind"] == "CustomResourceDefinition" {
		if err := s.established(ctx, path); err != nil {
			return err
		}
	}
	if old["kind"] == "PersistentVolumeClaim" {
		// No controller binds it here; in a cluster one soon does, and only then may it grow.
		storage, err := json.Marshal(storageOf(old))
		if err != nil {
			return err
		}
		if err := s.merge(ctx, path+"/status", `{"status":{"phase":"Bound","capacity":{"storage":`+string(storage)+`}}}`); err != nil {
			return err
		}
	}
	for _, i := range group {
		at, err := s.path(ctx, cases[i].Object, true) // may be of another version
		if err != nil {
			return err
		}
		status, body, err := s.send(ctx, http.MethodPatch, at+"?force=true&dryRun=All&fieldValidation=Strict&fieldManager="+manager, withAccount(cases[i].Object))
		if err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
		if status/100 == 2 {
			answers[i] = Answer{Status: Taken}
		} else if answers[i], err = refusal(body); err != nil {
			return fmt.Errorf("%s: %w", cases[i].Name(), err)
		}
	}
	return nil
}

func (s *Server) create(ctx context.Context, c Case) (Answer, error) {
	path, err := s.path(ctx, c.Object, false)
	if err != nil {
		return Answer{}, err
	}
	status, body, err := s.send(ctx, http.MethodPost, path+"?dryRun=All&fieldValidation=Strict&fieldManager="+manager, withAccount(c.Object))
	if err != nil {
		return Answer{}, err
	}
	if status/100 != 2 {
		return refusal(body)
	}
	stored, err := decodeJSON(body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: Taken, Stored: Difference(c.Object, Settle(c.Object, stored))}, nil
}

// withAccount names the service account of a Pod that names none, as the admission plugin ServiceAccount does.
func withAccount(object map[string]any) map[string]any {
	spec, ok := object["spec"].(map[string]any)
	if object["apiVersion"] != "v1" || object["kind"] != "Pod" || !ok {
		return object
	}
	for _, key := range []string{"serviceAccountName", "serviceAccount"} {
		if v, written := spec[key]; written && v != "" && v != nil {
			return object
		}
	}
	out := clone(object).(map[string]any)
	out["spec"].(map[string]any)["serviceAccountName"] = "default"
	return out
}
