package argocd_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/desired/argocd"
)

func TestAProjectSaysWhoIsImpersonated(t *testing.T) {
	for _, tc := range []struct{ name, accounts, namespace, want, err string }{
		{"nobody when the project lists none", "", "shop", "", ""},
		{"the account in the destination's namespace", "[{server: https://kubernetes.default.svc, namespace: shop, defaultServiceAccount: deployer}]", "shop", "shop:deployer", ""},
		{"an account with its namespace", "[{server: '*', namespace: '*', defaultServiceAccount: 'ops:deployer'}]", "shop", "ops:deployer", ""},
		{"the first that fits", "[{server: '*', namespace: pay, defaultServiceAccount: a}, {server: '*', namespace: 'sh*', defaultServiceAccount: b}, {server: '*', namespace: '*', defaultServiceAccount: c}]", "shop", "shop:b", ""},
		{"nobody for another cluster", "[{server: https://other.example.com, namespace: '*', defaultServiceAccount: a}]", "shop", "", ""},
		{"the Application's namespace when the destination has none", "[{server: '*', namespace: '*', defaultServiceAccount: a}]", "", "argocd:a", ""},
		{"an error for a name that Argo CD refuses", "[{server: '*', namespace: '*', defaultServiceAccount: 'a*'}]", "shop", "", "defaultServiceAccount \"a*\" is no name"},
		{"an error for what is no pattern", "[{server: '*', namespace: '[', defaultServiceAccount: a}]", "shop", "", "namespace \"[\" is no pattern"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			project := "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: shop, namespace: argocd}\nspec: {}\n"
			if tc.accounts != "" {
				project = strings.Replace(project, "{}", "{destinationServiceAccounts: "+tc.accounts+"}", 1)
			}
			p, err := argocd.ParseProject(object(t, project))
			if err != nil {
				t.Fatal(err)
			}
			a, err := argocd.Parse(object(t, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop, namespace: argocd}\nspec: {source: {repoURL: x, path: apps}, destination: {namespace: '"+tc.namespace+"'}}\n"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.ServiceAccount(a)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tc.want, tc.err)
			}
		})
	}
}
