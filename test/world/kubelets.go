package world

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// FakeKubelet is a stand-in for a node. Under a node's identity it writes what a kubelet writes and nothing else: it registers its
// node, keeps its lease, says of Pods that are bound to it that they run, or that they have succeeded when they are not to be restarted,
// and removes them when they are to go. It runs no container but those of gitgate that end by themselves, and these beside the cluster.
type FakeKubelet struct {
	name   string
	client kubernetes.Interface
	ip     int
	run    func(*corev1.Pod) int32 // runs the Pod's container of gitgate and returns its exit code
}

// StartKubelet adds a node to the cluster and keeps it until the test ends.
func (w *World) StartKubelet(name string) {
	w.t.Helper()
	c, err := kubernetes.NewForConfig(w.Config("system:node:"+name, "system:nodes"))
	w.must("node "+name, err)
	ctx, stop := context.WithCancel(w.ctx)
	k := &FakeKubelet{name: name, client: c, run: func(p *corev1.Pod) int32 { return w.runPod(ctx, c, p) }}
	w.must("node "+name, k.register(w.ctx))
	var work sync.WaitGroup
	work.Go(func() { every(ctx, 10*time.Second, func() { _ = k.heartbeat(ctx) }) })
	work.Go(func() { every(ctx, 500*time.Millisecond, func() { k.pods(ctx) }) })
	w.t.Cleanup(func() { stop(); work.Wait() })
}

func (k *FakeKubelet) register(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.name, Labels: map[string]string{"kubernetes.io/hostname": k.name, "kubernetes.io/os": "linux"}}}
	if _, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return k.heartbeat(ctx)
}

// heartbeat says that the node is well.
func (k *FakeKubelet) heartbeat(ctx context.Context) error {
	now := metav1.Now()
	room := corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("1000")}
	patch, err := json.Marshal(map[string]any{"status": corev1.NodeStatus{
		Capacity: room, Allocatable: room,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
	}})
	if err != nil {
		return err
	}
	if _, err := k.client.CoreV1().Nodes().PatchStatus(ctx, k.name, patch); err != nil {
		return err
	}
	leases := k.client.CoordinationV1().Leases("kube-node-lease")
	lease := fmt.Sprintf(`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":%q},"spec":{"holderIdentity":%q,"leaseDurationSeconds":40,"renewTime":%q}}`,
		k.name, k.name, now.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	_, err = leases.Patch(ctx, k.name, types.ApplyPatchType, []byte(lease), metav1.PatchOptions{FieldManager: "kubelet", Force: ptr.To(true)})
	return err
}

// every does something again and again until ctx ends. What fails is tried again with the next turn.
func every(ctx context.Context, interval time.Duration, do func()) {
	turn := time.NewTicker(interval)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
			do()
		}
	}
}

func (k *FakeKubelet) pods(ctx context.Context) {
	mine := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", k.name).String(), ResourceVersion: "0"}
	pods, err := k.client.CoreV1().Pods("").List(ctx, mine)
	if err != nil {
		return
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		in := k.client.CoreV1().Pods(p.Namespace)
		switch {
		case p.DeletionTimestamp != nil:
			_ = in.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
		case p.Status.Phase == corev1.PodPending || p.Status.Phase == "":
			if patch, err := json.Marshal(map[string]any{"status": k.status(p)}); err == nil {
				_, _ = in.Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
			}
		}
	}
}

func (k *FakeKubelet) status(p *corev1.Pod) corev1.PodStatus {
	k.ip++
	address := fmt.Sprintf("10.200.%d.%d", k.ip/250, k.ip%250+1)
	now := metav1.Now()
	s := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}, HostIP: "127.0.0.1", StartTime: &now}
	ready, code := corev1.ConditionTrue, int32(0)
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		s.Phase, ready = corev1.PodSucceeded, corev1.ConditionFalse
		if len(p.Spec.Containers) == 1 && strings.HasPrefix(p.Spec.Containers[0].Image, gateImage) {
			code = k.run(p)
		}
		if code != 0 {
			s.Phase = corev1.PodFailed
		}
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: ready, LastTransitionTime: now})
	}
	for _, c := range p.Spec.Containers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		if s.Phase != corev1.PodRunning {
			state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Completed", StartedAt: now, FinishedAt: now}}
		}
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: s.Phase == corev1.PodRunning, Started: ptr.To(s.Phase == corev1.PodRunning), State: state})
	}
	return s
}
