package apiserver

import (
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extensionsinstall "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	registrationinstall "k8s.io/kube-aggregator/pkg/apis/apiregistration/install"
	"k8s.io/kube-aggregator/pkg/registry/apiservice"

	"gitgate.dev/gitgate/policies"
)

// extensionBuiltins are the two kinds that the servers beside the main one store: their types are in schemes of their own, and
// they are stored as JSON.
func extensionBuiltins() []*builtin {
	extensions, registration := runtime.NewScheme(), runtime.NewScheme()
	extensionsinstall.Install(extensions)
	registrationinstall.Install(registration)
	crd := makeBuiltin(
		policies.GroupVersionKind{Group: apiextensions.GroupName, Version: "v1", Kind: "CustomResourceDefinition"},
		"customresourcedefinitions", customresourcedefinition.NewStrategy(extensions), extensions)
	service := makeBuiltin(
		policies.GroupVersionKind{Group: apiregistration.GroupName, Version: "v1", Kind: "APIService"},
		"apiservices", apiservice.NewStrategy(registration), registration)
	for _, b := range []*builtin{crd, service} {
		b.served, b.jsonOnly = true, true
	}
	return []*builtin{crd, service}
}
