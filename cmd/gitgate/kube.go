package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gitgate.dev/gitgate/policies"
)

// kubeFlags say which cluster is meant, as kubectl's do.
type kubeFlags struct{ kubeconfig, context string }

func (f *kubeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, or ~/.kube/config, or the cluster that gitgate runs in)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig (default: the current one)")
}

// client is how to reach the cluster.
func (f *kubeFlags) client() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, usage("cluster: %w", err)
	}
	c.UserAgent = "gitgate/" + buildVersion()
	return c, nil
}

// asObject is what the cluster answered, as policies read it.
func asObject(content map[string]any) *policies.Object {
	return policies.NewObject(content, policies.Origin{}, nil, nil)
}

func unreachable(verb string, err error) error {
	return exitWith(exitUnjudged, fmt.Errorf("cluster: %s: %w", verb, err))
}
