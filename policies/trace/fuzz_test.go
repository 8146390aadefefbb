package trace_test

import (
	"testing"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// FuzzJudge puts objects of any form before the policy, by everybody who may write something: it answers, and what it lets in of a
// Deployment or a Pod has the declared images alone.
func FuzzJudge(f *testing.F) {
	f.Add(deployment, "")
	f.Add(with(deployment, "web:1.1.0", "evil:1"), deployment)
	f.Add(pod, "")
	f.Add(replicaSet, replicaSet)
	f.Add(with(replicaSet, "containers:", "initContainers: [{name: x, image: y}]\n      containers:"), "")
	f.Add(cronsJob, "")
	f.Add(dbPod, boundPod)
	f.Add(namespace, goingNS)
	f.Add("apiVersion: v1\nkind: Pod\nmetadata: {ownerReferences: [1, {controller: true}], finalizers: {a: b}, labels: [x]}\nspec: {containers: {name: x}, volumes: [1, {}], tolerations: 3}\nstatus: []\n", "apiVersion: v1\nkind: Pod\nmetadata: x\n")
	f.Fuzz(func(t *testing.T, written, before string) {
		read := func(text string) *policies.Object {
			objects, _ := manifest.Decode("x.yaml", []byte(text), manifest.DefaultLimits())
			if len(objects) == 0 {
				return nil
			}
			return objects[0]
		}
		o, old := read(written), read(before)
		if o == nil && old == nil {
			return
		}
		p := newPolicy(t, cluster(t), nil)
		for _, user := range []string{fluxUser, argoUser, rsUser, depUser, gcUser, nsUser, hpaUser, "system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "system:node:node-1", "alice"} {
			c := &policies.Change{Object: o, Old: old, Actor: &policies.Actor{User: user, Groups: []string{"system:nodes"}}, Knows: policies.KnowsOld | policies.KnowsActor}
			switch {
			case old == nil:
				c.Operation = policies.Create
			case o == nil:
				c.Operation = policies.Delete
			default:
				c.Operation = policies.Update
				if o.Kind != old.Kind || o.Name != old.Name || o.Namespace != old.Namespace {
					return
				}
			}
			gvk := c.Subject().Kind
			c.Resource = policies.Resource{Group: gvk.Group, Version: gvk.Version, Resource: plurals[gvk.Kind]}
			c.Namespace = c.Subject().Namespace
			c.Namespaced = c.Namespace != ""
			f, err := p.Judge(t.Context(), c)
			if err != nil || len(f.Violations) > 0 || f.Skipped != "" || c.Operation != policies.Create || user == "system:node:node-1" {
				continue
			}
			for _, image := range images(o.Map()) {
				if image != "registry.example.com/web:1.1.0" && image != "x" && image != "db:1" && image != "db:2" {
					t.Errorf("%s may create an object with the image %q:\n%s", user, image, written)
				}
			}
		}
	})
}

// images are the values of every field of that name.
func images(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			if s, ok := x.(string); ok && key == "image" {
				out = append(out, s)
			}
			if key != "metadata" {
				out = append(out, images(x)...)
			}
		}
	case []any:
		for _, x := range v {
			out = append(out, images(x)...)
		}
	}
	return out
}
