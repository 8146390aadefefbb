package kyverno

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kyverno/kyverno/ext/wildcard"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"

	"gitgate.dev/gitgate/policies"
)

// standard is a podSecurity rule: the Pod Security Standards as the API server's own admission plug-in judges by them, less what
// is excluded.
type standard struct {
	level   string
	version string
	at      api.LevelVersion
	exclude []podStandard
}

// controls are the names that Kyverno gives to the checks of the Pod Security Standards.
var controls = map[string][]psa.CheckID{
	"Capabilities":             {"capabilities_baseline", "capabilities_restricted"},
	"Seccomp":                  {"seccompProfile_baseline", "seccompProfile_restricted"},
	"Privileged Containers":    {"privileged"},
	"Host Ports":               {"hostPorts"},
	"/proc Mount Type":         {"procMount"},
	"HostProcess":              {"windowsHostProcess"},
	"SELinux":                  {"seLinuxOptions"},
	"Host Namespaces":          {"hostNamespaces"},
	"HostPath Volumes":         {"hostPathVolumes"},
	"Sysctls":                  {"sysctls"},
	"AppArmor":                 {"appArmorProfile"},
	"Privilege Escalation":     {"allowPrivilegeEscalation"},
	"Running as Non-root":      {"runAsNonRoot"},
	"Running as Non-root user": {"runAsUser"},
	"Volume Types":             {"restrictedVolumes"},
}

var (
	ofContainers = []string{"Capabilities", "Privileged Containers", "Host Ports", "/proc Mount Type", "Privilege Escalation"}
	ofPods       = []string{"Host Namespaces", "HostPath Volumes", "Sysctls", "Volume Types"}
)

// standard compiles a podSecurity rule.
func (c *compiler) standard(at policies.Path, in *podSecurity) *standard {
	out := &standard{level: in.Level, version: in.Version, exclude: in.Exclude}
	level, err := api.ParseLevel(in.Level)
	if err != nil || in.Level == "" {
		c.wrong(at.Append("level"), policies.AtValue, fmt.Errorf("level %q: expected privileged, baseline or restricted", in.Level))
	}
	version := api.LatestVersion()
	if in.Version != "" {
		if version, err = api.ParseVersion(in.Version); err != nil {
			c.wrong(at.Append("version"), policies.AtValue, fmt.Errorf("version %q: expected latest or v1.x", in.Version))
		}
	}
	out.at = api.LevelVersion{Level: level, Version: version}
	c.standards(at.Append("exclude"), in.Exclude)
	return out
}

// standards says what is wrong with exclusions.
func (c *compiler) standards(at policies.Path, in []podStandard) {
	for i, x := range in {
		at := at.Append(i)
		switch {
		case controls[x.ControlName] == nil:
			names := make([]string, 0, len(controls))
			for name := range controls {
				names = append(names, name)
			}
			slices.Sort(names)
			c.wrong(at.Append("controlName"), policies.AtValue, fmt.Errorf("control %q: expected one of %s", x.ControlName, strings.Join(names, ", ")))
		case len(x.Images) == 0 && slices.Contains(ofContainers, x.ControlName):
			c.wrong(at, policies.AtKey, fmt.Errorf("control %s is about containers: expected images", x.ControlName))
		case len(x.Images) > 0 && slices.Contains(ofPods, x.ControlName):
			c.wrong(at.Append("images"), policies.AtKey, fmt.Errorf("control %s is about the Pod: expected no images", x.ControlName))
		case len(x.Values) > 0 && x.RestrictedField == "":
			c.wrong(at.Append("values"), policies.AtKey, errors.New("values without restrictedField: expected the field that they are of"))
		}
	}
}

var checks = sync.OnceValue(psa.DefaultChecks)

type podKey struct{}

// podOf is the Pod that an object is or makes, typed, made once.
func podOf(o *policies.Object) (*corev1.Pod, error) {
	v, err := o.Derive(podKey{}, func() (any, error) {
		path, ok := templatePath(o.Kind.Kind)
		if !ok {
			return nil, fmt.Errorf("%s makes no Pod: expected a Pod or a workload", o)
		}
		template, _ := policies.Lookup(o.Settled(), path)
		text, err := json.Marshal(template)
		if err != nil {
			return nil, err
		}
		pod := &corev1.Pod{}
		if err := json.Unmarshal(text, pod); err != nil {
			return nil, fmt.Errorf("%s holds no Pod: %w", o, err)
		}
		return pod, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*corev1.Pod), nil
}

// failedCheck is a check that a Pod does not pass.
type failedCheck struct {
	id     psa.CheckID
	result psa.CheckResult
}

// run asks the checks of a level and version, or of them only those in ids.
func (s *standard) run(pod *corev1.Pod, ids []psa.CheckID) []failedCheck {
	var out []failedCheck
	for _, check := range checks() {
		if s.at.Level == api.LevelPrivileged || s.at.Level == api.LevelBaseline && check.Level != api.LevelBaseline || ids != nil && !slices.Contains(ids, check.ID) {
			continue
		}
		var chosen *psa.VersionedCheck
		for i := range check.Versions {
			if v := &check.Versions[i]; !s.at.Version.Older(v.MinimumVersion) {
				chosen = v
			}
		}
		if chosen == nil {
			continue
		}
		if result := chosen.CheckPod(&pod.ObjectMeta, &pod.Spec); !result.Allowed {
			out = append(out, failedCheck{check.ID, result})
		}
	}
	return out
}

// judge asks the standard, less its own exclusions and more ones.
func (s *standard) judge(r *compiled, o *policies.Object, more []podStandard) verdict {
	pod, err := podOf(o)
	if err != nil {
		return broken(err)
	}
	found := s.run(pod, nil)
	if len(found) > 0 && len(s.exclude) > 0 {
		found = s.without(found, pod, s.exclude)
	}
	if len(found) == 0 {
		return verdict{status: passed}
	}
	if len(more) > 0 {
		if found = s.without(found, pod, more); len(found) == 0 {
			return verdict{status: skipped, message: "exceptions take out what it forbids"}
		}
	}
	var text strings.Builder
	for _, f := range found {
		fmt.Fprintf(&text, "(Forbidden reason: %s", f.result.ForbiddenReason)
		if f.result.ForbiddenDetail != "" {
			text.WriteString(", " + f.result.ForbiddenDetail)
		}
		text.WriteString(")")
	}
	path, _ := templatePath(o.Kind.Kind)
	return verdict{
		status:  failed,
		path:    path.Append("spec"),
		message: fmt.Sprintf(`Validation rule '%s' failed. It violates PodSecurity "%s:%s": %s`, r.name, s.level, s.version, text.String()),
	}
}

// without takes out what exclusions excuse: a check of an excluded control counts only if the Pod breaks it still when the
// excluded fields are set as the control wants them.
func (s *standard) without(found []failedCheck, pod *corev1.Pod, exclude []podStandard) []failedCheck {
	mended := map[string]*corev1.Pod{}
	for i := range exclude {
		x := &exclude[i]
		if mended[x.ControlName] == nil {
			mended[x.ControlName] = pod.DeepCopy()
		}
		x.mend(mended[x.ControlName])
	}
	var out []failedCheck
	for _, f := range found {
		excused := false
		for control, ids := range controls {
			if mended[control] != nil && slices.Contains(ids, f.id) {
				still := s.run(mended[control], []psa.CheckID{f.id})
				if excused = len(still) == 0; !excused {
					f = still[0]
				}
			}
		}
		if !excused {
			out = append(out, f)
		}
	}
	return out
}

var indexPattern = regexp.MustCompile(`\[\d*\]|\[\*\]`)

// covers says whether a field with a value is excluded.
func (x *podStandard) covers(field string, values ...string) bool {
	if x.RestrictedField != "" && indexPattern.ReplaceAllString(x.RestrictedField, "[*]") != field {
		return false
	}
	if len(x.Values) == 0 {
		return true
	}
	for _, v := range values {
		if v != "" && !wildcard.CheckPatterns(x.Values, v) {
			return false
		}
	}
	return true
}

// mend sets what is excluded as the control wants it: of the Pod itself, or with images of the containers that run them.
func (x *podStandard) mend(pod *corev1.Pod) {
	if len(x.Images) == 0 {
		x.mendPod(pod)
		return
	}
	spec := &pod.Spec
	for i := range spec.Containers {
		x.mendContainer("spec.containers[*]", &spec.Containers[i], pod)
	}
	for i := range spec.InitContainers {
		x.mendContainer("spec.initContainers[*]", &spec.InitContainers[i], pod)
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		x.mendContainer("spec.ephemeralContainers[*]", &c, pod)
		spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
}

func (x *podStandard) mendPod(pod *corev1.Pod) {
	spec := &pod.Spec
	switch x.ControlName {
	case "Host Namespaces":
		for field, value := range map[string]*bool{"spec.hostNetwork": &spec.HostNetwork, "spec.hostPID": &spec.HostPID, "spec.hostIPC": &spec.HostIPC} {
			if x.covers(field, strconv.FormatBool(*value)) {
				*value = false
			}
		}
		return
	case "HostPath Volumes", "Volume Types":
		for i := range spec.Volumes {
			v := &spec.Volumes[i]
			kind := volumeType(v)
			if x.ControlName == "HostPath Volumes" && kind != "hostPath" {
				continue
			}
			value := "" // Kyverno compares no value of other volumes
			if x.ControlName == "HostPath Volumes" {
				value = v.HostPath.Path
			}
			if x.covers("spec.volumes[*]."+kind, value) {
				v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
			}
		}
		return
	case "AppArmor":
		for k, v := range pod.Annotations {
			if strings.HasPrefix(k, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) && x.covers("metadata.annotations", v) {
				delete(pod.Annotations, k)
			}
		}
	}
	c := spec.SecurityContext
	if c == nil {
		c = &corev1.PodSecurityContext{}
		spec.SecurityContext = c
	}
	if x.ControlName == "Sysctls" {
		c.Sysctls = slices.DeleteFunc(c.Sysctls, func(s corev1.Sysctl) bool { return x.covers("spec.securityContext.sysctls[*].name", s.Name) })
		return
	}
	x.mendShared("spec.securityContext", &shared{c.SeccompProfile, c.SELinuxOptions, c.AppArmorProfile, c.WindowsOptions, c.RunAsNonRoot, c.RunAsUser}, func(s *shared) {
		c.SeccompProfile, c.SELinuxOptions, c.AppArmorProfile, c.WindowsOptions, c.RunAsNonRoot, c.RunAsUser = s.seccomp, s.selinux, s.apparmor, s.windows, s.nonRoot, s.user
	})
}

func volumeType(v *corev1.Volume) string {
	text, err := json.Marshal(v.VolumeSource)
	if err != nil {
		return ""
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil {
		return ""
	}
	for k := range fields {
		return k
	}
	return ""
}

func (x *podStandard) mendContainer(at string, c *corev1.Container, pod *corev1.Pod) {
	if !wildcard.CheckPatterns(x.Images, c.Image) {
		return
	}
	if x.ControlName == "AppArmor" {
		key := corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + c.Name
		if v, ok := pod.Annotations[key]; ok && x.covers("metadata.annotations", v) {
			delete(pod.Annotations, key)
		}
	}
	if x.ControlName == "Host Ports" {
		for i := range c.Ports {
			if x.covers(at+".ports[*].hostPort", strconv.Itoa(int(c.Ports[i].HostPort))) {
				c.Ports[i].HostPort = 0
			}
		}
		return
	}
	escalation := "" // as Kyverno names it
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	} else if v := c.SecurityContext.AllowPrivilegeEscalation; v == nil {
		escalation = "nil"
	} else {
		escalation = strconv.FormatBool(*v)
	}
	s := c.SecurityContext
	at += ".securityContext"
	no := false
	switch x.ControlName {
	case "Privileged Containers":
		if x.covers(at+".privileged", "true") {
			s.Privileged = &no
		}
	case "Privilege Escalation":
		if x.covers(at+".allowPrivilegeEscalation", escalation) {
			s.AllowPrivilegeEscalation = &no
		}
	case "/proc Mount Type":
		if s.ProcMount != nil && x.covers(at+".procMount", string(*s.ProcMount)) {
			s.ProcMount = nil
		}
	case "Capabilities":
		x.mendCapabilities(at+".capabilities", s)
	default:
		x.mendShared(at, &shared{s.SeccompProfile, s.SELinuxOptions, s.AppArmorProfile, s.WindowsOptions, s.RunAsNonRoot, s.RunAsUser}, func(m *shared) {
			s.SeccompProfile, s.SELinuxOptions, s.AppArmorProfile, s.WindowsOptions, s.RunAsNonRoot, s.RunAsUser = m.seccomp, m.selinux, m.apparmor, m.windows, m.nonRoot, m.user
		})
	}
}

func (x *podStandard) mendCapabilities(at string, s *corev1.SecurityContext) {
	if s.Capabilities == nil {
		s.Capabilities = &corev1.Capabilities{}
	}
	s.Capabilities.Add = slices.DeleteFunc(s.Capabilities.Add, func(c corev1.Capability) bool { return x.covers(at+".add", string(c)) })
	drops := make([]string, len(s.Capabilities.Drop))
	for i, c := range s.Capabilities.Drop {
		drops[i] = string(c)
	}
	if x.covers(at+".drop", drops...) {
		s.Capabilities.Drop = []corev1.Capability{"ALL"}
	}
}

// shared is what Pods and containers both have.
type shared struct {
	seccomp  *corev1.SeccompProfile
	selinux  *corev1.SELinuxOptions
	apparmor *corev1.AppArmorProfile
	windows  *corev1.WindowsSecurityContextOptions
	nonRoot  *bool
	user     *int64
}

func (x *podStandard) mendShared(at string, s *shared, keep func(*shared)) {
	switch x.ControlName {
	case "Seccomp":
		value := ""
		if s.seccomp != nil {
			value = string(s.seccomp.Type)
		}
		if x.covers(at+".seccompProfile.type", value) {
			s.seccomp = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
		}
	case "SELinux":
		if s.selinux == nil {
			return
		}
		for field, value := range map[string]*string{"type": &s.selinux.Type, "user": &s.selinux.User, "role": &s.selinux.Role} {
			if x.covers(at+".seLinuxOptions."+field, *value) {
				*value = ""
			}
		}
	case "AppArmor":
		if s.apparmor != nil && x.covers(at+".appArmorProfile.type", string(s.apparmor.Type)) {
			s.apparmor = nil
		}
	case "HostProcess":
		if s.windows != nil && s.windows.HostProcess != nil && x.covers(at+".windowsOptions.hostProcess", strconv.FormatBool(*s.windows.HostProcess)) {
			s.windows.HostProcess = nil
		}
	case "Running as Non-root":
		value := ""
		if s.nonRoot != nil {
			value = strconv.FormatBool(*s.nonRoot)
		}
		if x.covers(at+".runAsNonRoot", value) {
			yes := true
			s.nonRoot = &yes
		}
	case "Running as Non-root user":
		if s.user != nil && x.covers(at+".runAsUser", strconv.FormatInt(*s.user, 10)) {
			s.user = nil
		}
	}
	keep(s)
}
