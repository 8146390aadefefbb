package policies

// template is where a workload keeps the Pod it makes, and the kind of object that owns such a Pod.
type template struct {
	path  Path
	owner GroupVersionKind
}

// templateOf says where workloads of a kind keep the Pod they make.
func templateOf(gk GroupKind) (template, bool) {
	apps := func(kind string) GroupVersionKind { return GroupVersionKind{"apps", "v1", kind} }
	spec := Path{"spec", "template"}
	switch gk {
	case GroupKind{"apps", "Deployment"}, GroupKind{"apps", "ReplicaSet"}:
		return template{spec, apps("ReplicaSet")}, true
	case GroupKind{"apps", "StatefulSet"}, GroupKind{"apps", "DaemonSet"}:
		return template{spec, apps(gk.Kind)}, true
	case GroupKind{"", "ReplicationController"}:
		return template{spec, GroupVersionKind{"", "v1", "ReplicationController"}}, true
	case GroupKind{"batch", "Job"}:
		return template{spec, GroupVersionKind{"batch", "v1", "Job"}}, true
	case GroupKind{"batch", "CronJob"}:
		return template{Path{"spec", "jobTemplate", "spec", "template"}, GroupVersionKind{"batch", "v1", "Job"}}, true
	}
	return template{}, false
}

// podOf returns the creation of the Pod that the workload in c would make, and the path of its template in the workload. It
// returns nil when c writes no workload.
func podOf(c *Change) (*Change, Path) {
	if c.Object == nil || c.Resource.Subresource != "" {
		return nil, nil
	}
	t, ok := templateOf(c.Object.Kind.GroupKind())
	if !ok {
		return nil, nil
	}
	written := t.pod(c.Object, c.Object.Map())
	if written == nil {
		return nil, nil
	}
	var stored func(*Object) (map[string]any, error)
	if c.Object.stored != nil {
		workload := c.Object
		stored = func(*Object) (map[string]any, error) {
			m, err := workload.Stored()
			if err != nil {
				return nil, err
			}
			return t.pod(workload, m), nil
		}
	}
	pod := NewObject(written, c.Object.Origin, &templateSource{c.Object, t.path}, stored)
	return &Change{
		Operation:  Create,
		Resource:   Resource{Version: "v1", Resource: "pods"},
		Namespaced: true,
		Object:     pod,
		Workload:   c.Object,
		Actor:      c.Actor,
		Namespace:  c.Namespace,
		Holder:     c.Holder,
		DryRun:     c.DryRun,
		Knows:      c.Knows,
		Set:        c.Set,
	}, t.path
}

// pod makes the Pod of a workload's content, or nil when it has no template.
func (t template) pod(workload *Object, content map[string]any) map[string]any {
	v, _ := Lookup(content, t.path)
	tmpl, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	meta := map[string]any{
		"generateName": workload.Name + "-",
		"ownerReferences": []any{map[string]any{
			"apiVersion": t.owner.APIVersion(), "kind": t.owner.Kind, "name": workload.Name, "controller": true, "blockOwnerDeletion": true,
		}},
	}
	if workload.Namespace != "" {
		meta["namespace"] = workload.Namespace
	}
	if m, ok := tmpl["metadata"].(map[string]any); ok {
		for _, key := range []string{"labels", "annotations", "finalizers"} {
			if v, ok := m[key]; ok {
				meta[key] = v
			}
		}
	}
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta}
	if spec, ok := tmpl["spec"]; ok {
		pod["spec"] = spec
	}
	return pod
}

// templateSource finds fields of a workload's Pod in the workload.
type templateSource struct {
	workload *Object
	path     Path
}

func (s *templateSource) Locate(p Path, at Aspect) (Position, int) {
	full := inWorkload(s.path, p)
	if s.workload.source == nil {
		return s.workload.Locate(full, at), len(p)
	}
	pos, steps := s.workload.source.Locate(full, at)
	return pos, max(1, steps-(len(full)-len(p)))
}

// inWorkload turns a path in the Pod into the path in the workload whose template stands at prefix. What a Pod has of its own
// (kind, name, namespace) is the workload's.
func inWorkload(prefix, p Path) Path {
	if len(p) == 0 {
		return prefix
	}
	switch {
	case p[0] == "spec":
		return prefix.Append(p...)
	case p[0] == "metadata" && len(p) > 1 && (p[1] == "labels" || p[1] == "annotations" || p[1] == "finalizers"):
		return prefix.Append(p...)
	case p[0] == "metadata" && len(p) == 1:
		return prefix.Append(p...)
	default:
		return p
	}
}
