package trace

// Subresource says who writes a subresource.
type Subresource struct {
	Name string
	Rule string // in words: what is let in without configuration
}

// Subresources is every subresource of which something is known. One that is not listed is written by declared writers and under
// break-glass, and by nobody else.
func Subresources() []Subresource {
	return []Subresource{
		{"scale", "is a change of spec.replicas: a declared HorizontalPodAutoscaler's within its bounds"},
		{"status", "belongs to the controller of the kind"},
		{"binding", "belongs to the scheduler"},
		{"eviction", "is for nobody: a Pod that is to go is declared so, or its node's controller deletes it"},
		{"ephemeralcontainers", "is for nobody: it puts a container into a running Pod that no commit declares"},
		{"resize", "is for nobody: resources are declared in the workload"},
		{"exec", "is for nobody: it runs a command that no commit declares"},
		{"attach", "is for nobody: it reaches into a process that a commit declares"},
		{"portforward", "is for nobody: it opens a way into a Pod past its network policies"},
		{"proxy", "is for nobody: it opens a way into a Pod, Service or node past its network policies"},
		{"log", "is not governed: it reads"},
		{"token", "is not governed: whose token may be asked for, RBAC says"},
		{"approval", "belongs to the certificate controller, for kubelets' certificates"},
		{"finalize", "belongs to the namespace controller, for a namespace that is being deleted"},
	}
}

func subresourceRule(name string) string {
	for _, s := range Subresources() {
		if s.Name == name {
			return name + " " + s.Rule
		}
	}
	return name + " is written by nobody without being let"
}
