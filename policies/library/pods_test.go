package library_test

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// randomPod makes a Pod in which each field that the Pod Security Standards look at is sometimes absent, sometimes good and
// sometimes bad; most of them are good, so that each check has its Pods that keep it.
func randomPod(r *rand.Rand) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "a", "b"
	spec := &pod.Spec
	spec.HostNetwork, spec.HostPID, spec.HostIPC = rarely(r), rarely(r), rarely(r)
	spec.HostUsers = maybe(r, choice(r, true, false))
	if rarely(r) {
		spec.OS = &corev1.PodOS{Name: choice(r, corev1.Windows, corev1.Linux)}
	}
	for i := range r.IntN(3) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i), VolumeSource: randomVolume(r)})
	}
	if r.IntN(3) > 0 {
		s := &corev1.PodSecurityContext{
			SELinuxOptions: randomSELinux(r), WindowsOptions: randomWindows(r), RunAsUser: maybe(r, choice[int64](r, 0, 1000, 1000)),
			RunAsNonRoot: maybe(r, r.IntN(6) > 0), SeccompProfile: randomSeccomp(r), AppArmorProfile: randomAppArmor(r),
		}
		for range r.IntN(3) {
			s.Sysctls = append(s.Sysctls, corev1.Sysctl{Name: choice(r, "kernel.shm_rmid_forced", "net.ipv4.tcp_syncookies", "kernel.msgmax",
				"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem", "net.ipv4.ping_group_range"), Value: "1"})
		}
		spec.SecurityContext = s
	}
	for i := range 1 + r.IntN(2) {
		spec.Containers = append(spec.Containers, randomContainer(r, fmt.Sprint("c", i)))
	}
	for i := range r.IntN(2) {
		spec.InitContainers = append(spec.InitContainers, randomContainer(r, fmt.Sprint("i", i)))
	}
	if rarely(r) {
		spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(randomContainer(r, "e"))})
	}
	if rarely(r) {
		pod.Annotations = map[string]string{
			choice(r, "container.apparmor.security.beta.kubernetes.io/c0", "seccomp.security.alpha.kubernetes.io/pod",
				"container.seccomp.security.alpha.kubernetes.io/c0", "container.seccomp.security.alpha.kubernetes.io/other", "team"): choice(r, "runtime/default", "docker/default", "localhost/x", "unconfined", ""),
		}
	}
	return pod
}

func randomContainer(r *rand.Rand, name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "registry.example.com/a:1"}
	for range r.IntN(2) {
		port := corev1.ContainerPort{ContainerPort: 80}
		if rarely(r) {
			port.HostPort = choice[int32](r, 0, 80)
		}
		c.Ports = append(c.Ports, port)
	}
	c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = randomProbe(r), randomProbe(r), randomProbe(r)
	if rarely(r) {
		c.Lifecycle = &corev1.Lifecycle{PostStart: randomHandler(r), PreStop: randomHandler(r)}
	}
	if r.IntN(4) == 0 {
		return c
	}
	s := &corev1.SecurityContext{
		Privileged: maybe(r, rarely(r)), SELinuxOptions: randomSELinux(r), WindowsOptions: randomWindows(r), RunAsUser: maybe(r, choice[int64](r, 0, 1000, 1000)),
		RunAsNonRoot: maybe(r, r.IntN(6) > 0), AllowPrivilegeEscalation: maybe(r, rarely(r)), SeccompProfile: randomSeccomp(r), AppArmorProfile: randomAppArmor(r),
	}
	if rarely(r) {
		s.ProcMount = new(choice(r, corev1.DefaultProcMount, corev1.UnmaskedProcMount, ""))
	}
	if r.IntN(4) > 0 {
		s.Capabilities = &corev1.Capabilities{}
		for range r.IntN(2) {
			s.Capabilities.Add = append(s.Capabilities.Add, choice[corev1.Capability](r, "NET_BIND_SERVICE", "CHOWN", "SYS_ADMIN", "NET_RAW", "ALL"))
		}
		for range r.IntN(3) {
			s.Capabilities.Drop = append(s.Capabilities.Drop, choice[corev1.Capability](r, "ALL", "ALL", "NET_RAW", "all"))
		}
	}
	c.SecurityContext = s
	return c
}

func randomVolume(r *rand.Rand) corev1.VolumeSource {
	switch r.IntN(8) {
	case 0:
		return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	case 1:
		return corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}
	case 2:
		return corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "a"}}
	case 3:
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}
	case 4:
		return corev1.VolumeSource{}
	case 5:
		return corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
	default:
		return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	}
}

func randomSELinux(r *rand.Rand) *corev1.SELinuxOptions {
	if !rarely(r) {
		return nil
	}
	return &corev1.SELinuxOptions{Type: choice(r, "", "container_t", "container_engine_t", "spc_t"), User: choice(r, "", "", "u"), Role: choice(r, "", "", "r"), Level: "s0"}
}

func randomWindows(r *rand.Rand) *corev1.WindowsSecurityContextOptions {
	if !rarely(r) {
		return nil
	}
	return &corev1.WindowsSecurityContextOptions{HostProcess: maybe(r, rarely(r))}
}

func randomSeccomp(r *rand.Rand) *corev1.SeccompProfile {
	if r.IntN(3) == 0 {
		return nil
	}
	return &corev1.SeccompProfile{Type: choice(r, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeUnconfined, "")}
}

func randomAppArmor(r *rand.Rand) *corev1.AppArmorProfile {
	if !rarely(r) {
		return nil
	}
	return &corev1.AppArmorProfile{Type: choice(r, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeUnconfined, "")}
}

func randomProbe(r *rand.Rand) *corev1.Probe {
	if !rarely(r) {
		return nil
	}
	h := randomHandler(r)
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}}
}

func randomHandler(r *rand.Rand) *corev1.LifecycleHandler {
	if r.IntN(2) == 0 {
		return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Host: choice(r, "", "", "127.0.0.1")}}
	}
	return &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80), Host: choice(r, "", "", "10.0.0.1")}}
}

func rarely(r *rand.Rand) bool { return r.IntN(6) == 0 }

func choice[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func maybe[T any](r *rand.Rand, value T) *T {
	if r.IntN(3) == 0 {
		return nil
	}
	return &value
}
