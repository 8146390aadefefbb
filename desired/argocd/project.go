package argocd

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gobwas/glob"

	"gitgate.dev/gitgate/policies"
)

// Project is the part of argoproj.io/v1alpha1 AppProject that says who applies its Applications.
type Project struct {
	Spec struct {
		DestinationServiceAccounts []struct {
			Server                string `json:"server"`
			Namespace             string `json:"namespace"`
			DefaultServiceAccount string `json:"defaultServiceAccount"`
		} `json:"destinationServiceAccounts"`
	} `json:"spec"`

	object *policies.Object
}

// ParseProject reads an AppProject.
func ParseProject(o *policies.Object) (*Project, error) {
	text, err := json.Marshal(o.Map())
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o, err)
	}
	p := &Project{object: o}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, policies.ErrorAt(o.Locate(policies.Path{"spec"}, policies.AtKey), fmt.Errorf("%s cannot be read: %w", o, err))
	}
	return p, nil
}

// ServiceAccount is whom Argo CD impersonates to apply a to its own cluster, "namespace:name"; "" for nobody. The first entry that
// fits counts (argo-cd, util/settings/impersonation.go). The error says that Argo CD would refuse to sync.
func (p *Project) ServiceAccount(a *Application) (string, error) {
	server, namespace := inCluster[0], a.Spec.Destination.Namespace
	for i, x := range p.Spec.DestinationServiceAccounts {
		at := func(field, message string) error {
			return policies.ErrorAt(p.object.Locate(policies.Path{"spec", "destinationServiceAccounts", i, field}, policies.AtValue), fmt.Errorf("%s: %s", p.object, message))
		}
		fits, err := globs(x.Server, server)
		if err != nil {
			return "", at("server", fmt.Sprintf("server %q is no pattern: %v", x.Server, err))
		}
		here, err := globs(x.Namespace, namespace)
		if err != nil {
			return "", at("namespace", fmt.Sprintf("namespace %q is no pattern: %v", x.Namespace, err))
		}
		switch account := x.DefaultServiceAccount; {
		case !fits || !here:
			continue
		case strings.Trim(account, " ") == "" || strings.ContainsAny(account, `!*[]{}\/`):
			return "", at("defaultServiceAccount", fmt.Sprintf("defaultServiceAccount %q is no name of a service account", account))
		case strings.Contains(account, ":"):
			return account, nil
		case namespace == "":
			return a.Metadata.Namespace + ":" + account, nil
		default:
			return namespace + ":" + account, nil
		}
	}
	return "", nil
}

func globs(pattern, s string) (bool, error) {
	g, err := glob.Compile(pattern)
	if err != nil {
		return false, err
	}
	return g.Match(s), nil
}
