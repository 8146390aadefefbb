package conformance

import (
	"slices"
	"strings"

	"gitgate.dev/gitgate/policies"
)

// assigned are the fields, by kind, that a running server fills in with what it only knows: they are not compared when the
// object as sent leaves them open.
var assigned = map[string][]string{
	"":                                     {"metadata.name", "metadata.namespace"},
	"v1/Service":                           {"spec.clusterIP", "spec.clusterIPs", "spec.ipFamilies", "spec.ipFamilyPolicy", "spec.healthCheckNodePort", "spec.ports[*].nodePort"},
	"v1/Pod":                               {"status.conditions[*].lastTransitionTime"},
	"v1/PersistentVolume":                  {"status.lastPhaseTransitionTime"},
	"batch/v1/Job":                         {"spec.selector"},
	"apiregistration.k8s.io/v1/APIService": {"status.conditions[*].lastTransitionTime"},
	"resource.k8s.io/v1/ResourceSlice":     {"spec.devices[*].taints[*].timeAdded"},
}

// asker are fields that the server overwrites with who asks, whatever the object says.
var asker = []string{"spec.username", "spec.uid", "spec.groups", "spec.extra"}

// Settle takes out of an object, as stored, what only a running server can know.
func Settle(sent, stored map[string]any) map[string]any {
	out := clone(stored).(map[string]any)
	metadata, _ := out["metadata"].(map[string]any)
	uid, _ := metadata["uid"].(string)
	for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"} {
		delete(metadata, key)
	}
	apiVersion, _ := out["apiVersion"].(string)
	kind, _ := out["kind"].(string)
	if _, given := policies.Lookup(sent, policies.Path{"spec", "clusterIP"}); given && kind == "Service" {
		sent = clone(sent).(map[string]any)
		spec := sent["spec"].(map[string]any)
		if ips, _ := spec["clusterIPs"].([]any); len(ips) == 0 {
			spec["clusterIPs"] = []any{spec["clusterIP"]} // what is given in one field is known of the other
		}
	}
	for _, id := range []string{"", apiVersion + "/" + kind} {
		for _, field := range assigned[id] {
			leave(sent, out, strings.Split(strings.ReplaceAll(field, "[*]", ".*"), "."))
		}
	}
	if kind == "Service" {
		for _, field := range []string{"ipFamilies", "clusterIPs"} {
			// Of two families one may be given, and the other is the cluster's.
			given, _ := policies.Lookup(sent, policies.Path{"spec", field})
			spec, _ := out["spec"].(map[string]any)
			if some, ok := given.([]any); ok && len(some) > 0 {
				if all, _ := spec[field].([]any); len(all) > len(some) {
					spec[field] = all[:len(some)]
				}
			}
		}
	}
	if kind == "CertificateSigningRequest" {
		for _, field := range asker {
			if spec, ok := out["spec"].(map[string]any); ok {
				delete(spec, strings.TrimPrefix(field, "spec."))
			}
		}
	}
	if kind == "Namespace" {
		if labels, ok := metadata["labels"].(map[string]any); ok && metadata["name"] == nil {
			delete(labels, "kubernetes.io/metadata.name")
			if len(labels) == 0 {
				delete(metadata, "labels")
			}
		}
	}
	if kind == "Job" && uid != "" {
		dropUID(sent, out, uid)
	}
	return out
}

// leave deletes a field of stored that sent does not set.
func leave(sent, stored any, field []string) {
	if field[0] == "*" {
		items, _ := stored.([]any)
		for i, item := range items {
			var of any
			if list, ok := sent.([]any); ok && i < len(list) {
				of = list[i]
			}
			leave(of, item, field[1:])
		}
		return
	}
	s, _ := sent.(map[string]any)
	o, ok := stored.(map[string]any)
	if !ok {
		return
	}
	if len(field) > 1 {
		leave(s[field[0]], o[field[0]], field[1:])
		return
	}
	switch v := s[field[0]].(type) {
	case nil:
		delete(o, field[0])
	case string:
		if v == "" {
			delete(o, field[0])
		}
	case int64:
		if v == 0 {
			delete(o, field[0])
		}
	case []any:
		if len(v) == 0 {
			delete(o, field[0])
		}
	}
}

// dropUID takes the labels out of a Job and its template that are made of its uid, or of a name that the server drew.
func dropUID(sent, out map[string]any, uid string) {
	name, _ := policies.Lookup(sent, policies.Path{"metadata", "name"})
	for _, at := range []policies.Path{{"metadata"}, {"spec", "template", "metadata"}} {
		found, _ := policies.Lookup(out, at)
		metadata, _ := found.(map[string]any)
		labels, _ := metadata["labels"].(map[string]any)
		for _, key := range []string{"batch.kubernetes.io/controller-uid", "controller-uid", "batch.kubernetes.io/job-name", "job-name"} {
			if labels[key] == uid || name == nil && strings.HasSuffix(key, "job-name") {
				delete(labels, key)
			}
		}
		if labels != nil && len(labels) == 0 {
			delete(metadata, "labels")
		}
	}
}

// byClass are the reasons of the API server's causes in the words of package apiserver.
var byClass = map[string][]string{
	"FieldValueInvalid":      {"invalid", "immutable"},
	"FieldValueRequired":     {"required"},
	"FieldValueDuplicate":    {"duplicate"},
	"FieldValueForbidden":    {"forbidden", "immutable"},
	"FieldValueNotSupported": {"not-supported-value", "immutable"},
	"FieldValueNotFound":     {"not-found"},
	"FieldValueTypeInvalid":  {"type"},
	"FieldValueTooLong":      {"too-long"},
	"FieldValueTooMany":      {"too-many"},
	"UnknownField":           {"unknown-field"},
	"Type":                   {"type"},
}

// says is whether a rule of package apiserver says what a cause of the API server says.
func says(rule, cause string) bool { return slices.Contains(byClass[cause], rule) }
