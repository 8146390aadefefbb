package argocd

import (
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/desired/helm"
	"gitgate.dev/gitgate/policies"
)

// What Argo CD writes on objects, and reads from them.
const (
	TrackingAnnotation = "argocd.argoproj.io/tracking-id"
	installationID     = "argocd.argoproj.io/installation-id"
	hookAnnotation     = "argocd.argoproj.io/hook"
	optionsAnnotation  = "argocd.argoproj.io/sync-options"
	hookFinalizer      = "argocd.argoproj.io/hook-finalizer"
	defaultLabel       = "app.kubernetes.io/instance"
)

var hookTypes = []string{"PreSync", "Sync", "PostSync", "SyncFail", "PreDelete", "PostDelete"}

// helmHooks are the phases that stand for Helm's. Those that are missing never run (gitops-engine, pkg/sync/hook/helm).
var helmHooks = map[string]string{
	"pre-install": "PreSync", "pre-upgrade": "PreSync", "post-install": "PostSync", "post-upgrade": "PostSync",
	"pre-delete": "PreDelete", "post-delete": "PostDelete",
}

// mark puts on objects what Argo CD puts on them, and leaves out those that it never applies.
func (a *Application) mark(objects []Object, config Config) (marked []Object) {
	namespace, hasNamespace := a.Spec.Destination.Namespace, false
	for _, o := range objects {
		hooks, applied := hooksOf(o.Content)
		if !applied {
			continue
		}
		o.Hooks = hooks
		if !isCRD(o.Content) {
			a.track(o.Content, config)
		}
		config.Cluster.Default(o.Content, namespace)
		if len(hooks) > 0 {
			finalize(o.Content)
			if name(o.Content) == "" {
				o.Opaque = append(o.Opaque, policies.Path{"metadata", "name"}) // Argo CD makes one of the time
			}
		}
		o.Keeps = a.keeps(o.Content)
		hasNamespace = hasNamespace || o.Content["apiVersion"] == "v1" && o.Content["kind"] == "Namespace" && name(o.Content) == namespace
		marked = append(marked, o)
	}
	if slices.Contains(a.Spec.SyncPolicy.SyncOptions, "CreateNamespace=true") && namespace != "" && !hasNamespace {
		marked = append([]Object{a.namespace(namespace)}, marked...)
	}
	return marked
}

// keeps says why Argo CD does not delete an object that is no longer declared; "" when it does. An option of the object goes before
// one of the Application.
func (a *Application) keeps(content map[string]any) string {
	for _, from := range []struct {
		options []string
		who     string
	}{{options(content), "the object"}, {a.Spec.SyncPolicy.SyncOptions, "Application " + a.Metadata.Name}} {
		for _, option := range from.options {
			switch strings.TrimSpace(option) {
			case "Prune=false":
				return "sync option Prune=false of " + from.who + " forbids it"
			case "Prune=confirm":
				return "sync option Prune=confirm of " + from.who + " lets a person decide"
			case "Prune=true":
				return ""
			}
		}
	}
	return ""
}

// track marks an object as a's. It is done before the object gets its namespace, so that one that lives in none has that of the
// destination in its mark.
func (a *Application) track(content map[string]any, config Config) {
	instance := a.InstanceName(config)
	label := config.InstanceLabel
	if label == "" {
		label = defaultLabel
	}
	tracking := config.Tracking
	if tracking == "" {
		tracking = TrackAnnotation
	}
	if tracking != TrackLabel {
		apiVersion, _ := content["apiVersion"].(string)
		group, _ := policies.ParseAPIVersion(apiVersion)
		namespace := text(content, "metadata", "namespace")
		if namespace == "" {
			namespace = a.Spec.Destination.Namespace
		}
		put(content, "annotations", TrackingAnnotation, fmt.Sprintf("%s:%s/%v:%s/%s", instance, group, content["kind"], namespace, name(content)))
		if config.InstallationID != "" {
			put(content, "annotations", installationID, config.InstallationID)
		}
	}
	if tracking != TrackAnnotation {
		if tracking == TrackBoth && len(instance) > 63 {
			instance = instance[:63]
		}
		put(content, "labels", label, instance)
	}
}

// hooksOf says in which phases Argo CD makes an object; applied is false when it never does.
func hooksOf(content map[string]any) (hooks []string, applied bool) {
	if written := text(content, "metadata", "annotations", hookAnnotation); written != "" {
		for phase := range strings.SplitSeq(written, ",") {
			phase = strings.TrimSpace(phase)
			if phase == "Skip" {
				return nil, false
			}
			if slices.Contains(hookTypes, phase) && !slices.Contains(hooks, phase) {
				hooks = append(hooks, phase)
			}
		}
		return hooks, len(hooks) > 0
	}
	written := text(content, "metadata", "annotations", helm.HookAnnotation)
	if written == "" || written == "crd-install" {
		return nil, true
	}
	for event := range strings.SplitSeq(written, ",") {
		if phase := helmHooks[strings.TrimSpace(event)]; phase != "" && !slices.Contains(hooks, phase) {
			hooks = append(hooks, phase)
		}
	}
	return hooks, len(hooks) > 0
}

// finalize puts on a hook what keeps it until Argo CD has seen it end.
func finalize(content map[string]any) {
	meta := metadata(content)
	finalizers, _ := meta["finalizers"].([]any)
	if !slices.Contains(finalizers, any(hookFinalizer)) {
		meta["finalizers"] = append(slices.Clone(finalizers), hookFinalizer)
	}
}

// namespace is what a sync with CreateNamespace makes. It has no mark.
func (a *Application) namespace(name string) Object {
	meta := map[string]any{"name": name}
	if managed := a.Spec.SyncPolicy.ManagedNamespaceMetadata; managed != nil {
		labels, annotations := map[string]any{}, map[string]any{}
		for key, value := range managed.Labels {
			labels[key] = value
		}
		for key, value := range managed.Annotations {
			annotations[key] = value
		}
		// It is applied by the server, so that what others wrote on the namespace stays.
		if written, _ := annotations[optionsAnnotation].(string); written == "" {
			annotations[optionsAnnotation] = "ServerSideApply=true"
		} else if !strings.Contains(written, "ServerSideApply") {
			annotations[optionsAnnotation] = written + ",ServerSideApply=true"
		}
		meta["annotations"] = annotations
		if len(labels) > 0 {
			meta["labels"] = labels
		}
	}
	return Object{
		Content: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": meta},
		Origin:  a.object.Origin, Source: written{a.object}, Keeps: "Argo CD deletes no namespace that it created",
	}
}

func isCRD(content map[string]any) bool {
	apiVersion, _ := content["apiVersion"].(string)
	group, _ := policies.ParseAPIVersion(apiVersion)
	return group == "apiextensions.k8s.io" && content["kind"] == "CustomResourceDefinition"
}

// options are the sync options of an object.
func options(content map[string]any) []string {
	var out []string
	for option := range strings.SplitSeq(text(content, "metadata", "annotations", optionsAnnotation), ",") {
		out = append(out, strings.TrimSpace(option))
	}
	return out
}

func text(content map[string]any, path ...any) string {
	v, _ := policies.Lookup(content, policies.Path(path))
	s, _ := v.(string)
	return s
}

func name(content map[string]any) string { return text(content, "metadata", "name") }

func metadata(content map[string]any) map[string]any {
	meta, ok := content["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		content["metadata"] = meta
	}
	return meta
}

// put sets one label or annotation of an object.
func put(content map[string]any, field, key, value string) {
	meta := metadata(content)
	m, ok := meta[field].(map[string]any)
	if !ok {
		m = map[string]any{}
		meta[field] = m
	}
	m[key] = value
}
