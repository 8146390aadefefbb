package clitest

import "gitgate.dev/gitgate/policies/kyverno"

// The documents as the Kyverno CLI has them (cmd/cli/kubectl-kyverno/apis/v1alpha1), with the fields of before.

type anything = any

type spec struct {
	APIVersion           string         `json:"apiVersion"`
	Kind                 string         `json:"kind"`
	Metadata             anything       `json:"metadata"`
	Name                 string         `json:"name"`
	Policies             []string       `json:"policies"`
	Resources            []string       `json:"resources"`
	JSONPayload          string         `json:"jsonPayload"`
	JSONPayloads         []string       `json:"jsonPayloads"`
	HTTPPayloads         []string       `json:"httpPayloads"`
	EnvoyPayloads        []string       `json:"envoyPayloads"`
	TargetResources      []string       `json:"targetResources"`
	Variables            string         `json:"variables"`
	ParamResources       []string       `json:"paramResources"`
	UserInfo             string         `json:"userinfo"`
	Results              []expectation  `json:"results"`
	Values               *values        `json:"values"`
	Exceptions           []string       `json:"exceptions"`
	Context              string         `json:"context"`
	ClusterResources     []string       `json:"clusterResources"`
	APICallResponses     []callResponse `json:"apiCallResponses"`
	GlobalContextEntries []globalEntry  `json:"globalContextEntries"`
	Checks               anything       `json:"checks"`
}

type expectation struct {
	Policy                      string         `json:"policy"`
	Rule                        string         `json:"rule"`
	Result                      string         `json:"result"`
	Status                      string         `json:"status"`
	Kind                        string         `json:"kind"`
	Namespace                   string         `json:"namespace"`
	Operation                   string         `json:"operation"`
	Resource                    string         `json:"resource"`
	Resources                   []string       `json:"resources"`
	ResourceSpecs               []resourceSpec `json:"resourceSpecs"`
	IsValidatingAdmissionPolicy bool           `json:"isValidatingAdmissionPolicy"`
	IsValidatingPolicy          bool           `json:"isValidatingPolicy"`
	IsMutatingAdmissionPolicy   bool           `json:"isMutatingAdmissionPolicy"`
	IsDeletingPolicy            bool           `json:"isDeletingPolicy"`
	IsImageValidatingPolicy     bool           `json:"isImageValidatingPolicy"`
	IsGeneratingPolicy          bool           `json:"isGeneratingPolicy"`
	IsMutatingPolicy            bool           `json:"isMutatingPolicy"`
	PatchedResource             string         `json:"patchedResource"`
	PatchedResources            string         `json:"patchedResources"`
	GeneratedResource           string         `json:"generatedResource"`
	GeneratedResources          []string       `json:"generatedResources"`
	CloneSourceResource         string         `json:"cloneSourceResource"`
	FailOnMissingResources      bool           `json:"failOnMissingResources"`
}

// idle says what an expectation is about that is no validation; "" for a validation.
func (e *expectation) idle() string {
	for _, x := range []struct {
		set  bool
		what string
	}{
		{e.IsMutatingAdmissionPolicy, "isMutatingAdmissionPolicy"},
		{e.IsMutatingPolicy, "isMutatingPolicy"},
		{e.IsGeneratingPolicy, "isGeneratingPolicy"},
		{e.IsDeletingPolicy, "isDeletingPolicy"},
		{e.IsImageValidatingPolicy, "isImageValidatingPolicy"},
		{e.PatchedResource != "", "patchedResource"},
		{e.PatchedResources != "", "patchedResources"},
		{e.GeneratedResource != "", "generatedResource"},
		{len(e.GeneratedResources) > 0, "generatedResources"},
		{e.CloneSourceResource != "", "cloneSourceResource"},
	} {
		if x.set {
			return x.what
		}
	}
	return ""
}

type resourceSpec struct {
	Group       string `json:"group"`
	Version     string `json:"version"`
	Kind        string `json:"kind"`
	Namespace   string `json:"namespace"`
	Subresource string `json:"subresource"`
	Name        string `json:"name"`
}

type callResponse struct {
	URL      string `json:"url"`
	URLPath  string `json:"urlPath"`
	Method   string `json:"method"`
	Response struct {
		StatusCode int      `json:"statusCode"`
		Body       anything `json:"body"`
	} `json:"response"`
}

type globalEntry struct {
	Name          string       `json:"name"`
	Data          anything     `json:"data"`
	Resources     []anything   `json:"resources"`
	ResourceFiles []string     `json:"resourceFiles"`
	FieldPath     string       `json:"fieldPath"`
	Projections   []projection `json:"projections"`
}

type projection struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

type values struct {
	APIVersion         string          `json:"apiVersion"`
	Kind               string          `json:"kind"`
	Metadata           anything        `json:"metadata"`
	GlobalValues       map[string]any  `json:"globalValues"`
	Policies           []policyValues  `json:"policies"`
	NamespaceSelectors []namespaceSpec `json:"namespaceSelector"`
	Namespaces         []anything      `json:"namespaces"`
	Subresources       []subresource   `json:"subresources"`
}

type policyValues struct {
	Name      string           `json:"name"`
	Resources []resourceValues `json:"resources"`
	Rules     []ruleValues     `json:"rules"`
}

type resourceValues struct {
	Name   string         `json:"name"`
	Values map[string]any `json:"values"`
}

type ruleValues struct {
	Name          string           `json:"name"`
	Values        map[string]any   `json:"values"`
	ForeachValues map[string][]any `json:"foreachValues"`
}

type namespaceSpec struct {
	Name   string         `json:"name"`
	Labels map[string]any `json:"labels"`
}

type subresource struct {
	Subresource    apiResource `json:"subresource"`
	ParentResource apiResource `json:"parentResource"`
}

type apiResource struct {
	Name               string   `json:"name"`
	SingularName       string   `json:"singularName"`
	Namespaced         bool     `json:"namespaced"`
	Group              string   `json:"group"`
	Version            string   `json:"version"`
	Kind               string   `json:"kind"`
	Verbs              []string `json:"verbs"`
	ShortNames         []string `json:"shortNames"`
	Categories         []string `json:"categories"`
	StorageVersionHash string   `json:"storageVersionHash"`
}

type userInfo struct {
	APIVersion   string   `json:"apiVersion"`
	Kind         string   `json:"kind"`
	Metadata     anything `json:"metadata"`
	Roles        []string `json:"roles"`
	ClusterRoles []string `json:"clusterRoles"`
	UserInfo     struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"userInfo"`
}

type clusterResource struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   anything `json:"metadata"`
	Spec       struct {
		CRDs      []string   `json:"crds"`
		Resources []anything `json:"resources"`
	} `json:"spec"`
}

type contextFile struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   anything `json:"metadata"`
	Spec       struct {
		Resources []anything `json:"resources"`
		Images    []anything `json:"images"`
	} `json:"spec"`
}

// trial is what values and answers give to policies.
func (t *test) giveTrial(v *values) {
	t.trial.Rules = map[[2]string]map[string]any{}
	t.trial.Objects = map[[2]string]map[string]any{}
	if v != nil {
		t.trial.Global = v.GlobalValues
		t.subs = v.Subresources
		for _, p := range v.Policies {
			for _, r := range p.Resources {
				t.trial.Objects[[2]string{p.Name, r.Name}] = r.Values
			}
			for _, r := range p.Rules {
				all := map[string]any{}
				for k, value := range r.Values {
					all[k] = value
				}
				for k, list := range r.ForeachValues {
					if len(list) > 0 {
						all[k] = list[0] // the CLI takes the first for every element
					}
				}
				t.trial.Rules[[2]string{p.Name, r.Name}] = all
			}
		}
	}
	t.trial.Calls = map[string]kyverno.Answer{}
	for _, c := range t.spec.APICallResponses {
		key := c.URL + c.URLPath
		if c.Method != "" {
			key = c.Method + ":" + key
		}
		t.trial.Calls[key] = kyverno.Answer{Status: c.Response.StatusCode, Body: c.Response.Body}
	}
	t.trial.Cluster = len(t.spec.ClusterResources) > 0
}
