package e2e

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/controlplane"
	"gitgate.dev/gitgate/test/world"
)

// askers is how many requests of a load are in work at once.
const askers = 5

// load is the reconciler's token in two hands that never rest: one writes what is declared, the other something that is not. It counts
// the answers: declared and denied as they should be, unsure ones, which are refused too, failed ones, which nobody answered, and intruders
// and others that must not be.
type load struct {
	s        *scene
	stop     chan struct{}
	done     chan struct{}
	outcomes chan outcome
	seen     map[string]int
}

type outcome struct {
	declared bool
	err      error
}

// underLoad begins a load on a scene whose ConfigMap settings is declared with n: one.
func (s *scene) underLoad() *load {
	l := &load{s: s, stop: make(chan struct{}), done: make(chan struct{}), outcomes: make(chan outcome, 1<<16), seen: map[string]int{}}
	ask := func(declared bool) func() {
		in := s.As(world.FluxUser, controlplane.ServiceAccountGroups(world.FluxNamespace), "v1 ConfigMap", s.name)
		return func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				var err error
				if declared {
					_, err = in.Patch(s.t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"n":"one"}}`), metav1.PatchOptions{FieldManager: "kustomize-controller"})
				} else {
					_, err = in.Create(s.t.Context(), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"generateName": "intruder-", "namespace": s.name}}}, metav1.CreateOptions{})
				}
				l.outcomes <- outcome{declared, err}
			}
		}
	}
	var all []func()
	for n := range askers {
		all = append(all, ask(n >= 2))
	}
	go func() {
		defer close(l.done)
		parallel(all...)
	}()
	return l
}

// until returns when the answers so far are enough.
func (l *load) until(enough func(map[string]int) bool) {
	l.s.t.Helper()
	l.s.Eventually("the load does not go on", func() error {
		for {
			select {
			case o := <-l.outcomes:
				l.count(o)
			default:
				if enough(l.seen) {
					return nil
				}
				return fmt.Errorf("so far: %v", l.seen)
			}
		}
	})
}

// more returns when as many requests more have been answered as they should be.
func (l *load) more(declared, denied int) {
	l.s.t.Helper()
	declared, denied = l.seen["declared"]+declared, l.seen["denied"]+denied
	l.until(func(m map[string]int) bool { return m["declared"] >= declared && m["denied"] >= denied })
}

func (l *load) count(o outcome) {
	switch {
	case o.err == nil && !o.declared:
		l.seen["intruders"]++
	case o.err == nil:
		l.seen["declared"]++
	case !strings.Contains(o.err.Error(), "gitgate.dev"):
		l.seen["others"]++
		l.s.t.Logf("an answer of somebody else: %v", o.err)
	case apierrors.IsForbidden(o.err):
		l.seen["denied"]++
	case strings.Contains(o.err.Error(), "failed calling webhook"):
		l.seen["failed"]++
	default: // Git did not answer in time whether it declares it: on a machine that starts a replica
		l.seen["unsure"]++
	}
}

// end ends the load, and wants that nothing got in that must not.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	<-l.done
	close(l.outcomes)
	for o := range l.outcomes {
		l.count(o)
	}
	t.Logf("answers: %v", l.seen)
	if l.seen["intruders"] > 0 || l.seen["others"] > 0 {
		t.Errorf("answers: %v", l.seen)
	}
	for _, o := range l.s.List("v1 ConfigMap", l.s.name) {
		if strings.HasPrefix(o.GetName(), "intruder-") {
			t.Errorf("ConfigMap %s got in", o.GetName())
		}
	}
	if err := l.s.asFlux("v1 ConfigMap", "settings", `{"data":{"n":"one"}}`); err != nil {
		t.Errorf("what is declared is refused: %v", err)
	}
}
