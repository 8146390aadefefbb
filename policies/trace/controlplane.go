package trace

// controlPlane is what each identity of the control plane does, as kube-controller-manager, the scheduler, the API server and
// their RBAC roles of Kubernetes 1.36 and 1.37 have it. A controller does this and nothing else. A controller manager that runs
// all controllers under its own identity does what all of them do.
func controlPlane() map[string][]duty {
	all := map[string][]duty{}
	var shared []duty
	for account, does := range controllers() {
		all[serviceAccount("kube-system", account)] = does
		shared = append(shared, does...)
	}
	all["system:kube-controller-manager"] = append(shared, managerItself()...)
	all["system:kube-scheduler"] = scheduler()
	all["system:apiserver"] = apiServer()
	return all
}

// controllers is what the controllers of kube-controller-manager do, by their service accounts in kube-system.
func controllers() map[string][]duty {
	return map[string][]duty{
		"attachdetach-controller": {
			on("volumeattachments.storage.k8s.io", "cud", "attaches and detaches volumes", computed),
			on("nodes/status volumeattachments.storage.k8s.io/status", "u", "reports attached volumes", status()),
		},
		"bootstrap-signer": {
			on("configmaps", "u", "signs the cluster-info", both(called("kube-public", "cluster-info"), fields("data[jws-kubeconfig-*]"))),
		},
		"certificate-controller": {
			on("certificatesigningrequests.certificates.k8s.io/status", "u", "signs approved requests", status()),
			on("certificatesigningrequests.certificates.k8s.io/approval", "u", "approves kubelets' client certificates", both(kubeletSigner, status())),
			on("certificatesigningrequests.certificates.k8s.io", "d", "deletes old requests", always),
		},
		"clusterrole-aggregation-controller": {
			on("clusterroles.rbac.authorization.k8s.io", "u", "fills in the rules of roles that aggregate others", both(fields("rules"), aggregated)),
		},
		"cronjob-controller": {
			on("jobs.batch", "c", "makes Jobs of a traced CronJob's template", made("CronJob.batch", jobOfCronJob)),
			on("jobs.batch", "d", "deletes old Jobs of a CronJob", childOf("CronJob.batch")),
			on("cronjobs.batch/status", "u", "reports the status", status()),
		},
		"daemon-set-controller": {
			on("pods", "c", "makes Pods of a traced DaemonSet's template", made("DaemonSet.apps", podOfDaemonSet)),
			on("pods controllerrevisions.apps", "d", "deletes what a DaemonSet controls", childOf("DaemonSet.apps")),
			on("pods", "u", "adopts and releases Pods", adoption("DaemonSet.apps")),
			on("controllerrevisions.apps", "c", "records templates of a traced DaemonSet", made("DaemonSet.apps", revision)),
			on("controllerrevisions.apps", "u", "numbers and adopts revisions", adoption("DaemonSet.apps", "revision", "metadata.labels")),
			on("daemonsets.apps/status", "u", "reports the status", status()),
		},
		"deployment-controller": {
			on("replicasets.apps", "c", "makes ReplicaSets of a traced Deployment's template", made("Deployment.apps", replicaSetOfDeployment)),
			on("replicasets.apps", "u", "scales, annotates and adopts ReplicaSets of a traced Deployment", scaledReplicaSet),
			on("replicasets.apps", "d", "deletes old ReplicaSets", childOf("Deployment.apps")),
			on("deployments.apps/status", "u", "reports the status, and numbers the rollout", status("metadata.annotations[deployment.kubernetes.io/revision]")),
			on("deployments.apps", "u", "numbers the rollout", fields("metadata.annotations[deployment.kubernetes.io/revision]")),
		},
		"device-taint-eviction-controller": {
			on("pods", "d", "evicts Pods from tainted devices", always),
			on("pods/status devicetaintrules.resource.k8s.io/status", "u", "reports evictions", status()),
		},
		"disruption-controller": {
			on("poddisruptionbudgets.policy/status pods/status", "u", "reports what may be disrupted", status()),
		},
		"endpoint-controller":               endpoints("endpoints"),
		"endpointslice-controller":          endpoints("endpointslices.discovery.k8s.io"),
		"endpointslicemirroring-controller": endpoints("endpointslices.discovery.k8s.io"),
		"ephemeral-volume-controller": {
			on("persistentvolumeclaims", "c", "makes the claims of a traced Pod's ephemeral volumes", made("Pod", claimOfPod)),
		},
		"expand-controller": {
			on("persistentvolumeclaims/status persistentvolumes/status", "u", "reports resizing", status()),
			on("persistentvolumes", "u", "grows volumes", fields("spec.capacity", "metadata.annotations[volume.kubernetes.io/*]")),
		},
		"generic-garbage-collector": {
			on("*", "d", "deletes objects whose owners are gone or being deleted", collected),
			on("*", "u", "takes owners that are going from objects, and its finalizers from what is being deleted", released),
		},
		"horizontal-pod-autoscaler": {
			on("*/scale", "u", "scales targets of a declared HorizontalPodAutoscaler within its bounds", autoscaled),
			on("horizontalpodautoscalers.autoscaling/status", "u", "reports the status", status()),
		},
		"job-controller": {
			on("pods", "c", "makes Pods of a traced Job's template", made("Job.batch", podOfJob)),
			on("pods", "u", "releases and adopts Pods of a Job", adoption("Job.batch", "metadata.finalizers[batch.kubernetes.io/job-tracking]", "metadata.labels[batch.kubernetes.io/*]")),
			on("pods", "d", "deletes Pods of a Job", childOf("Job.batch")),
			on("jobs.batch/status pods/status", "u", "reports the status", status()),
		},
		"kube-apiserver-serving-clustertrustbundle-publisher": {
			on("clustertrustbundles.certificates.k8s.io", "cud", "publishes the API server's certificate authority", called("", "kubernetes.io:kube-apiserver-serving:*")),
		},
		"legacy-service-account-token-cleaner": {
			on("secrets", "u", "marks old tokens as invalid", both(tokenSecret, fields("metadata.labels[kubernetes.io/legacy-token-*]"))),
			on("secrets", "d", "deletes old tokens", tokenSecret),
		},
		"namespace-controller": {
			on("*", "d", "deletes what is in a namespace that is being deleted", goingNamespace),
			on("namespaces/status namespaces/finalize", "u", "finishes the deletion of a namespace", finalized),
		},
		"node-controller": append(evicting(),
			on("nodes", "u", "taints nodes by their condition, labels them, and gives them addresses for Pods", nodeConditionsOnly),
			on("nodes/status", "u", "reports nodes that do not answer", status()),
		),
		"persistent-volume-binder": {
			on("persistentvolumeclaims", "u", "binds claims", fields("spec.volumeName", "metadata.annotations[pv.kubernetes.io/*]", "metadata.annotations[volume.kubernetes.io/*]", "metadata.annotations[volume.beta.kubernetes.io/*]")),
			on("persistentvolumes", "u", "binds volumes", fields("spec.claimRef", "metadata.annotations[pv.kubernetes.io/*]", "metadata.finalizers[kubernetes.io/pv-controller]", "metadata.finalizers[external-provisioner.volume.kubernetes.io/finalizer]")),
			on("persistentvolumes", "d", "deletes released volumes", reclaimed),
			on("persistentvolumeclaims/status persistentvolumes/status", "u", "reports the status", status()),
		},
		"pod-garbage-collector": {
			on("pods", "d", "deletes finished and lost Pods", lostPod),
			on("pods/status", "u", "reports lost Pods", status()),
		},
		"podcertificaterequest-cleaner": {on("podcertificaterequests.certificates.k8s.io", "d", "deletes old requests", always)},
		"pv-protection-controller":      {on("persistentvolumes", "u", "protects volumes in use", finalizers("kubernetes.io/pv-protection"))},
		"pvc-protection-controller":     {on("persistentvolumeclaims", "u", "protects claims in use", finalizers("kubernetes.io/pvc-protection")), on("persistentvolumeclaims/status", "u", "reports the status", status())},
		"vac-protection-controller":     {on("volumeattributesclasses.storage.k8s.io", "u", "protects classes in use", finalizers("kubernetes.io/vac-protection"))},
		"replicaset-controller":         replicas("ReplicaSet.apps", "replicasets.apps"),
		"replication-controller":        replicas("ReplicationController", "replicationcontrollers"),
		"resource-claim-controller": {
			on("resourceclaims.resource.k8s.io", "c", "makes the claims of a traced Pod of declared ResourceClaimTemplates", made("Pod", claimOfTemplate)),
			on("resourceclaims.resource.k8s.io", "d", "deletes claims of Pods that are gone", childOf("Pod")),
			on("resourceclaims.resource.k8s.io/status pods/status", "u", "reports claims", status()),
		},
		"resourcequota-controller":   {on("resourcequotas/status", "u", "counts what is used", status())},
		"root-ca-cert-publisher":     {on("configmaps", "cu", "publishes the API server's certificate authority", both(called("", "kube-root-ca.crt"), fields("data[ca.crt]", "metadata.name", "metadata.namespace", "metadata.annotations[kubernetes.io/description]")))},
		"route-controller":           {on("nodes/status", "u", "reports routes", status())},
		"service-account-controller": {on("serviceaccounts", "c", "makes the default account of a namespace", both(called("", "default"), bareAccount))},
		"service-cidrs-controller":   {on("servicecidrs.networking.k8s.io", "u", "protects ranges in use", finalizers("networking.k8s.io/service-cidr-finalizer")), on("servicecidrs.networking.k8s.io/status", "u", "reports the status", status())},
		"service-controller":         {on("services/status", "u", "reports load balancers", status()), on("services", "u", "protects load balancers", finalizers("service.kubernetes.io/load-balancer-cleanup"))},
		"statefulset-controller":     statefulSets(),
		"storage-version-migrator-controller": {
			on("storageversionmigrations.storagemigration.k8s.io/status", "u", "reports the status", status()),
			on("*", "u", "writes objects as they are, so that they are stored in another version", fields()),
		},
		"storageversion-garbage-collector": {
			on("storageversions.internal.apiserver.k8s.io", "d", "deletes versions of API servers that are gone", always),
			on("storageversions.internal.apiserver.k8s.io/status", "u", "reports the status", status()),
		},
		"taint-eviction-controller":                   evicting(),
		"token-cleaner":                               {on("secrets", "d", "deletes expired bootstrap tokens", secretOf("bootstrap.kubernetes.io/token"))},
		"ttl-after-finished-controller":               {on("jobs.batch", "d", "deletes Jobs that have finished and have a time to live", expired)},
		"ttl-controller":                              {on("nodes", "u", "notes how long kubelets may cache", fields("metadata.annotations[node.alpha.kubernetes.io/ttl]"))},
		"validatingadmissionpolicy-status-controller": {on("validatingadmissionpolicies.admissionregistration.k8s.io/status", "u", "reports type checks", status())},
	}
}

func endpoints(resource string) []duty {
	return []duty{on(resource, "cud", "lists the addresses behind Services", computed)}
}

func evicting() []duty {
	return []duty{
		on("pods", "d", "evicts Pods from nodes with a taint", always),
		on("pods/status", "u", "reports evictions", status()),
	}
}

// replicas is what the controllers of ReplicaSets and ReplicationControllers do.
func replicas(kind, resource string) []duty {
	return []duty{
		on("pods", "c", "makes Pods of a traced owner's template", made(kind, podOfReplicas)),
		on("pods", "u", "adopts and releases Pods", adoption(kind, "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]")),
		on("pods", "d", "deletes Pods of the owner", childOf(kind)),
		on(resource+"/status", "u", "reports the status", status()),
	}
}

func statefulSets() []duty {
	const kind = "StatefulSet.apps"
	return []duty{
		on("pods", "c", "makes Pods of a traced StatefulSet's template, or of a recorded revision of it", made(kind, podOfStatefulSet)),
		on("pods", "u", "adopts, releases and labels Pods", adoption(kind, "metadata.labels[statefulset.kubernetes.io/pod-name]", "metadata.labels[apps.kubernetes.io/pod-index]")),
		on("pods controllerrevisions.apps", "d", "deletes what a StatefulSet controls", childOf(kind)),
		on("controllerrevisions.apps", "c", "records templates of a traced StatefulSet", made(kind, revision)),
		on("controllerrevisions.apps", "u", "numbers and adopts revisions", adoption(kind, "revision", "metadata.labels")),
		on("persistentvolumeclaims", "c", "makes claims of a declared StatefulSet's templates", claimOfStatefulSet),
		on("persistentvolumeclaims", "u", "ties claims to the StatefulSet or its Pod", claimTied),
		on("statefulsets.apps/status", "u", "reports the status", status()),
	}
}

// managerItself is what kube-controller-manager does under its own name: accounts for its controllers, and legacy tokens.
func managerItself() []duty {
	return []duty{
		on("serviceaccounts", "c", "makes the accounts of its controllers", both(called("kube-system", "*"), bareAccount)),
		on("serviceaccounts", "u", "forgets tokens that are gone", fields("secrets")),
		on("secrets", "u", "fills in service account tokens", both(tokenSecret, fields(
			"data[token]", "data[ca.crt]", "data[namespace]", "metadata.annotations[kubernetes.io/service-account.uid]", "metadata.annotations["+lastApplied+"]"))),
		on("secrets", "d", "deletes tokens of service accounts that are gone", tokenSecret),
	}
}

func scheduler() []duty {
	return []duty{
		on("pods/binding", "c", "gives Pods to nodes", toNode),
		on("pods/status", "u", "reports what it could not schedule", status()),
		on("pods", "d", "preempts Pods of a lower priority", always),
		on("persistentvolumeclaims", "u", "chooses a node for a volume", fields("metadata.annotations[volume.kubernetes.io/selected-node]", "spec.volumeName", "metadata.annotations[pv.kubernetes.io/*]")),
		on("persistentvolumes", "u", "reserves volumes", fields("spec.claimRef", "metadata.annotations[pv.kubernetes.io/*]")),
		on("resourceclaims.resource.k8s.io/status", "u", "allocates devices", status()),
		on("resourceclaims.resource.k8s.io", "u", "reserves devices", fields("metadata.finalizers")),
	}
}

// apiServer is what an API server writes to itself.
func apiServer() []duty {
	return []duty{
		on("namespaces", "c", "makes the namespaces of the system", called("", "default", "kube-system", "kube-public", "kube-node-lease")),
		on("clusterroles.rbac.authorization.k8s.io clusterrolebindings.rbac.authorization.k8s.io roles.rbac.authorization.k8s.io rolebindings.rbac.authorization.k8s.io", "cud",
			"keeps the bootstrap roles", bootstrapRole),
		on("apiservices.apiregistration.k8s.io", "cud", "registers the groups it serves", labelled("kube-aggregator.kubernetes.io/automanaged")),
		on("*.flowcontrol.apiserver.k8s.io", "cud", "keeps the suggested flow control", annotated("apf.kubernetes.io/autoupdate-spec")),
		on("services endpoints endpointslices.discovery.k8s.io", "cu", "keeps the Service kubernetes", called("default", "kubernetes")),
		on("configmaps", "cu", "publishes what extension servers and token cleaners need", called("kube-system", "extension-apiserver-authentication", "kube-apiserver-legacy-service-account-token-tracking")),
		on("priorityclasses.scheduling.k8s.io", "cu", "makes the classes of the system", called("", "system-node-critical", "system-cluster-critical")),
		on("ipaddresses.networking.k8s.io", "cud", "allocates addresses", always),
		on("servicecidrs.networking.k8s.io", "cu", "makes the default range", called("", "kubernetes")),
		on("storageversions.internal.apiserver.k8s.io", "cu", "records what it stores", always),
		on("serviceaccounts/token", "c", "makes tokens", always),
		on("pods", "d", "deletes Pods that are evicted", always),
		on("secrets", "u", "notes the use of legacy tokens", both(tokenSecret, fields("metadata.labels[kubernetes.io/legacy-token-*]"))),
		on("customresourcedefinitions.apiextensions.k8s.io", "u", "finishes the deletion of custom resources", finalizers("customresourcecleanup.apiextensions.k8s.io")),
		on("customresourcedefinitions.apiextensions.k8s.io/status", "u", "reports the status, and finishes the deletion of custom resources", status("metadata.finalizers[customresourcecleanup.apiextensions.k8s.io]")),
		on("apiservices.apiregistration.k8s.io/status resourcequotas/status servicecidrs.networking.k8s.io/status storageversions.internal.apiserver.k8s.io/status",
			"u", "reports the status", status()),
		on("poddisruptionbudgets.policy/status pods/status", "u", "counts what an eviction disrupts", status()),
		on("flowschemas.flowcontrol.apiserver.k8s.io/status prioritylevelconfigurations.flowcontrol.apiserver.k8s.io/status", "u", "reports the status", status()),
	}
}

// kubelet is what the kubelet of a node does: on that node, and with Pods that are bound to it.
func kubelet() []duty {
	return []duty{
		on("nodes", "c", "registers its node", ownNode),
		on("nodes", "u", "labels its node", both(ownNode, fields("metadata.labels", "metadata.annotations", "spec.providerID", "spec.podCIDR", "spec.podCIDRs", "spec.configSource"))),
		on("nodes/status", "u", "reports its node", both(ownNode, status("metadata.annotations"))),
		on("pods", "c", "mirrors static Pods", mirrorPod),
		on("pods/status", "u", "reports Pods of its node", both(ownPod, status())),
		on("pods", "d", "removes Pods of its node that have ended", both(ownPod, endedPod)),
		on("csinodes.storage.k8s.io", "cu", "lists its drivers", ownNode),
		on("certificatesigningrequests.certificates.k8s.io", "c", "asks for its certificates", ownCertificate),
		on("persistentvolumeclaims/status", "u", "reports resizing", status()),
		on("resourceslices.resource.k8s.io", "cud", "lists its devices", ownSlice),
		on("podcertificaterequests.certificates.k8s.io", "c", "asks for certificates of its Pods", ownSlice),
		on("serviceaccounts/token", "c", "asks for tokens of its Pods", always),
	}
}

// controllersOf is what the controllers of a reconciler do with their own objects, by their service accounts. That they apply
// what Git declares comes on top.
func controllersOf(sort Sort) map[string][]duty {
	return map[Sort]map[string][]duty{
		Flux: {
			"kustomize-controller": fluxController("kustomizations.kustomize.toolkit.fluxcd.io"),
			"helm-controller": append(append(fluxController("helmreleases.helm.toolkit.fluxcd.io"), recordsReleases()...),
				on("helmcharts.source.toolkit.fluxcd.io", "cud", "asks for the chart of a declared HelmRelease", chartOfRelease),
			),
			"source-controller": fluxController("*.source.toolkit.fluxcd.io"),
			"notification-controller": append(fluxController("*.notification.toolkit.fluxcd.io"),
				on("*.source.toolkit.fluxcd.io *.kustomize.toolkit.fluxcd.io *.helm.toolkit.fluxcd.io *.image.toolkit.fluxcd.io", "u", "asks for a reconciliation when a Receiver is called",
					fields("metadata.annotations[reconcile.fluxcd.io/requestedAt]")),
			),
			"image-reflector-controller":  fluxController("*.image.toolkit.fluxcd.io"),
			"image-automation-controller": fluxController("*.image.toolkit.fluxcd.io"),
			"source-watcher":              fluxController("*.source.extensions.fluxcd.io"),
		},
		ArgoCD: {
			"argocd-application-controller": {
				on("applications.argoproj.io applications.argoproj.io/status", "u", "runs operations and reports the status", normalized(
					"status", "operation", "metadata.annotations[argocd.argoproj.io/refresh]", "metadata.annotations[argocd.argoproj.io/hydrate]",
					"metadata.finalizers[resources-finalizer.argocd.argoproj.io]", "metadata.finalizers[resources-finalizer.argocd.argoproj.io/*]",
					"metadata.finalizers[post-delete-finalizer.argocd.argoproj.io]", "metadata.finalizers[post-delete-finalizer.argocd.argoproj.io/*]")),
				on("configmaps", "u", "shares clusters among its replicas", called("", "argocd-app-controller-shard-cm")),
				on("appprojects.argoproj.io appprojects.argoproj.io/status", "u", "reports the status", status("metadata.finalizers[resources-finalizer.argocd.argoproj.io]")),
			},
			"argocd-applicationset-controller": {
				on("applicationsets.argoproj.io applicationsets.argoproj.io/status", "u", "reports the status", status("metadata.annotations[argocd.argoproj.io/application-set-refresh]")),
				on("applications.argoproj.io applications.argoproj.io/status", "u", "starts operations and reports the status", fields("status", "operation", "metadata.annotations[argocd.argoproj.io/refresh]")),
			},
			"argocd-server": {
				on("applications.argoproj.io", "u", "starts syncs and refreshes that its users ask for", fields(
					"operation", "metadata.annotations[argocd.argoproj.io/refresh]", "metadata.annotations[argocd.argoproj.io/hydrate]")),
			},
			"argocd-notifications-controller": {
				on("applications.argoproj.io appprojects.argoproj.io", "u", "notes what it told", fields("metadata.annotations[notified.notifications.argoproj.io]")),
			},
		},
	}[sort]
}

// fluxController is what a controller of Flux does with its own kinds.
func fluxController(resource string) []duty {
	return []duty{
		on(resource+"/status", "u", "reports the status", status()),
		on(resource, "u", "guards the deletion of its objects", finalizers("finalizers.fluxcd.io")),
	}
}
