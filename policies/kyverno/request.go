package kyverno

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	imageutils "github.com/kyverno/kyverno/pkg/utils/image"

	"gitgate.dev/gitgate/policies"
)

type untypedKey struct{}

// untyped is o with every number a float64, made once. There are none in metadata.managedFields, which are often half of an object.
func untyped(o *policies.Object) map[string]any {
	v, err := o.Derive(untypedKey{}, func() (any, error) {
		root := o.Settled()
		meta, _ := root["metadata"].(map[string]any)
		managed, ok := meta["managedFields"].([]any)
		if !ok {
			return floats(root), nil
		}
		rest := maps.Clone(meta)
		delete(rest, "managedFields")
		rest = maps.Clone(floats(rest).(map[string]any))
		rest["managedFields"] = slices.Clone(managed)
		out := make(map[string]any, len(root))
		for k, v := range root {
			if k != "metadata" {
				out[k] = floats(v)
			}
		}
		out["metadata"] = rest
		return out, nil
	})
	if err != nil {
		return nil
	}
	return v.(map[string]any)
}

type headKey struct{ operation policies.Operation }

// head is the AdmissionRequest without its objects. What the door does not know is not in it.
func head(c *policies.Change) (map[string]any, error) {
	v, err := c.Derive(headKey{c.Operation}, func() (any, error) {
		subject := c.Subject()
		r := map[string]any{
			"uid":         "",
			"kind":        map[string]any{"group": subject.Kind.Group, "version": subject.Kind.Version, "kind": subject.Kind.Kind},
			"resource":    map[string]any{"group": c.Resource.Group, "version": c.Resource.Version, "resource": c.Resource.Resource},
			"subResource": c.Resource.Subresource,
			"name":        subject.Name,
			"namespace":   namespaceOf(c),
			"operation":   string(c.Operation),
			"dryRun":      c.DryRun,
			"options":     floats(c.Options),
		}
		if c.Actor != nil {
			r["userInfo"] = userInfo(c.Actor)
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// request is the top of the JSON context: the AdmissionRequest, and who makes it.
func request(c *policies.Change) (map[string]any, error) {
	rest, err := head(c)
	if err != nil {
		return nil, err
	}
	r := maps.Clone(rest)
	r["object"], r["oldObject"] = nil, nil
	if c.Object != nil {
		r["object"] = untyped(c.Object)
	}
	if c.Old != nil {
		r["oldObject"] = untyped(c.Old)
	}
	top := map[string]any{"request": r}
	if c.Actor != nil {
		top["serviceAccountName"], top["serviceAccountNamespace"] = serviceAccount(c.Actor)
	}
	return top, nil
}

func userInfo(a *policies.Actor) map[string]any {
	extra := map[string]any{}
	for k, values := range a.Extra {
		extra[k] = texts(values)
	}
	return map[string]any{"username": a.User, "uid": a.UID, "groups": texts(a.Groups), "extra": extra}
}

// serviceAccount takes the name of a service account apart; both are empty for another user.
func serviceAccount(a *policies.Actor) (name, namespace string) {
	if rest, ok := strings.CutPrefix(a.User, "system:serviceaccount:"); ok {
		namespace, name, _ = strings.Cut(rest, ":")
	}
	return name, namespace
}

// namespaceOf is the namespace that a request is sent to; of a Namespace its own name, as the API server has it.
func namespaceOf(c *policies.Change) string {
	subject := c.Subject()
	switch {
	case subject.Kind.Group == "" && subject.Kind.Kind == "Namespace":
		return subject.Name
	case c.Namespace != "":
		return c.Namespace
	default:
		return subject.Namespace
	}
}

// templatePath says where an object of a kind keeps the Pod that it is or makes; ok is false for other kinds.
func templatePath(kind string) (path policies.Path, ok bool) {
	switch kind {
	case "Pod":
		return nil, true
	case "DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "Job":
		return policies.Path{"spec", "template"}, true
	case "CronJob":
		return policies.Path{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

type imagesKey struct{}

// loadImages sets images: of each list of containers, by the container's name, the parts of its image. Nothing is set for an
// object without containers.
func (s *scope) loadImages() error {
	o := s.change.Subject()
	v, err := o.Derive(imagesKey{}, func() (any, error) { return imagesOf(o) })
	if err != nil {
		return err
	}
	images := v.(map[string]any)
	if len(images) == 0 {
		return nil
	}
	data, err := s.vars()
	if err != nil {
		return err
	}
	data["images"] = images
	return nil
}

func imagesOf(o *policies.Object) (map[string]any, error) {
	out := map[string]any{}
	path, ok := templatePath(o.Kind.Kind)
	if !ok {
		return out, nil
	}
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		at := path.Append("spec", list)
		v, _ := policies.Lookup(o.Settled(), at)
		containers, _ := v.([]any)
		byName := map[string]any{}
		for i, item := range containers {
			c, _ := item.(map[string]any)
			name, ok := c["name"].(string)
			if !ok {
				return nil, fmt.Errorf("%s has no name", at.Append(i))
			}
			image, _ := c["image"].(string)
			if strings.TrimSpace(image) == "" {
				continue
			}
			info, err := imageutils.GetImageInfo(image, settings())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at.Append(i, "image"), err)
			}
			byName[name] = map[string]any{
				"registry": info.Registry, "name": info.Name, "path": info.Path, "tag": info.Tag, "digest": info.Digest,
				"reference": info.Reference, "referenceWithTag": info.ReferenceWithTag, "jsonPointer": pointer(at.Append(i, "image")),
			}
			for _, optional := range []string{"registry", "tag", "digest", "reference", "referenceWithTag"} {
				if m := byName[name].(map[string]any); m[optional] == "" {
					delete(m, optional)
				}
			}
		}
		if len(byName) > 0 {
			out[list] = byName
		}
	}
	return out, nil
}

func pointer(p policies.Path) string {
	var b strings.Builder
	for _, step := range p {
		fmt.Fprintf(&b, "/%v", step)
	}
	return b.String()
}
