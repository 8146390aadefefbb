package bundle

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/policies"
)

// Compiled when the first gitgate.yaml is read, so that starting costs nothing.
var (
	namePattern    = lazy(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	kindPattern    = lazy(`^[A-Z][A-Za-z0-9]*(\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`)
	libraryPattern = lazy(`^[a-z0-9]+([-/][a-z0-9]+)*$`)
	versionPattern = lazy(`^(latest|v?1\.(0|[1-9][0-9]{0,2}))$`)
	scpPattern     = lazy(`^([A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+:[^:]+$`) // git@host:path, as git-clone(1) takes it
)

func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// check says what is wrong with values of the right type.
func (c *Config) check(d *decoder) {
	if c.APIVersion != APIVersion {
		d.fail(policies.Path{"apiVersion"}, policies.AtValue, "expected %s, got %s", APIVersion, nameOf(d.object.Map()["apiVersion"]))
	}
	if c.Kind != KindName {
		d.fail(policies.Path{"kind"}, policies.AtValue, "expected %s, got %s", KindName, nameOf(d.object.Map()["kind"]))
	}
	if c.Kubernetes != "" && !slices.Contains(Versions(), c.Kubernetes) {
		d.fail(policies.Path{"kubernetes"}, policies.AtValue, "%q is no version that gitgate knows: expected one of %s", c.Kubernetes, strings.Join(Versions(), ", "))
	}
	c.checkSources(d)
	for i, r := range c.Reconcilers {
		p := policies.Path{"reconcilers", i}
		if (r.Flux == nil) == (r.ArgoCD == nil) {
			d.fail(p, policies.AtValue, "expected either flux or argocd")
		}
		if r.Flux != nil {
			d.name(p.Append("flux", "namespace"), r.Flux.Namespace)
			d.name(p.Append("flux", "defaultServiceAccount"), r.Flux.DefaultServiceAccount)
		}
		if r.ArgoCD != nil {
			d.name(p.Append("argocd", "namespace"), r.ArgoCD.Namespace)
		}
	}
	c.checkWriters(d)
	c.checkPolicies(d)
	c.checkSchemas(d)
	for i, image := range c.Images {
		p := policies.Path{"images", i}
		d.patterns(p.Append("match"), image.Match, true)
		if image.Signed == nil && image.Provenance == nil {
			d.fail(p, policies.AtValue, "asks for nothing: expected signed, provenance or both")
		}
		if image.Signed != nil {
			d.filled(p.Append("signed", "keys"), len(image.Signed.Keys))
			for j, key := range image.Signed.Keys {
				d.local(p.Append("signed", "keys", j), key)
			}
		}
		if v := image.Provenance; v != nil {
			if len(v.Builders)+len(v.Sources)+len(v.Branches) == 0 {
				d.fail(p.Append("provenance"), policies.AtValue, "asks for nothing: expected builders, sources or branches")
			}
			d.patterns(p.Append("provenance", "builders"), v.Builders, false)
			d.patterns(p.Append("provenance", "sources"), v.Sources, false)
			d.patterns(p.Append("provenance", "branches"), v.Branches, false)
		}
	}
	for i, m := range c.Modes {
		p := policies.Path{"modes", i}
		d.patterns(p.Append("policies"), m.Policies, true)
		d.patterns(p.Append("namespaces"), m.Namespaces, false)
		d.patterns(p.Append("kinds"), m.Kinds, false)
	}
	for i, x := range c.Exempt {
		p := policies.Path{"exempt", i}
		d.patterns(p.Append("policies"), x.Policies, true)
		d.patterns(p.Append("namespaces"), x.Namespaces, false)
		d.patterns(p.Append("kinds"), x.Kinds, false)
		d.patterns(p.Append("names"), x.Names, false)
		if strings.TrimSpace(x.Reason) == "" && x.Reason != "" {
			d.fail(p.Append("reason"), policies.AtValue, "is empty: say why the policy does not hold here")
		}
	}
	if m := c.BreakGlass.Maximum; m != "" {
		if long, err := time.ParseDuration(m); err != nil || long <= 0 || long > 8*time.Hour {
			d.fail(policies.Path{"breakGlass", "maximum"}, policies.AtValue, "%q: expected a time of at most 8h, such as 30m", shortened(m))
		}
	}
	if n := c.BreakGlass.Approvals; n < 0 || n > 5 {
		d.fail(policies.Path{"breakGlass", "approvals"}, policies.AtValue, "expected 0 to 5 people, got %d", n)
	}
	d.atLeast(policies.Path{"limits", "documentSize"}, c.Limits.DocumentSize, 1024)
	d.atLeast(policies.Path{"limits", "depth"}, c.Limits.Depth, 16)
}

func (c *Config) checkSources(d *decoder) {
	seen := map[string]int{}
	for i, s := range c.Sources {
		p := policies.Path{"sources", i}
		d.uniqueName(p, s.Name, i, seen)
		if s.URL != "" {
			if err := checkURL(s.URL); err != nil {
				d.fail(p.Append("url"), policies.AtValue, "%w", err)
			}
		}
		if s.Branch != "" && !validBranch(s.Branch) {
			d.fail(p.Append("branch"), policies.AtValue, "%q is no branch name, see git-check-ref-format(1)", s.Branch)
		}
		if s.Path != "" {
			d.local(p.Append("path"), s.Path)
		}
		if s.Trust != nil {
			s.Trust.check(d, p.Append("trust"))
		}
		if s.Referenced && s.Path != "" {
			d.fail(p.Append("path"), policies.AtValue, "is what the source declares by itself, and a referenced one declares nothing by itself")
		}
	}
	if len(c.Sources) > 0 && !slices.ContainsFunc(c.Sources, func(s Source) bool { return !s.Referenced }) {
		d.fail(policies.Path{"sources"}, policies.AtValue, "are all referenced, and nothing refers to them: expected one that declares something by itself")
	}
}

func (t *Trust) check(d *decoder, p policies.Path) {
	if t.SSH == nil && t.OpenPGP == nil && t.X509 == nil {
		d.fail(p, policies.AtValue, "trusts nobody: expected ssh, openpgp or x509")
	}
	if t.SSH != nil {
		d.local(p.Append("ssh", "allowedSigners"), t.SSH.AllowedSigners)
		d.local(p.Append("ssh", "revoked"), t.SSH.Revoked)
	}
	if t.OpenPGP != nil {
		d.filled(p.Append("openpgp", "keys"), len(t.OpenPGP.Keys))
		for i, key := range t.OpenPGP.Keys {
			d.local(p.Append("openpgp", "keys", i), key)
		}
	}
	if t.X509 != nil {
		d.local(p.Append("x509", "roots"), t.X509.Roots)
		d.filled(p.Append("x509", "identities"), len(t.X509.Identities))
		for i, id := range t.X509.Identities {
			at := p.Append("x509", "identities", i)
			if (id.Subject == "") == (id.SubjectPattern == "") {
				d.fail(at, policies.AtValue, "expected either subject or subjectPattern")
			}
			if _, err := regexp.Compile(id.SubjectPattern); err != nil {
				d.fail(at.Append("subjectPattern"), policies.AtValue, "%q is no regular expression: %v", shortened(id.SubjectPattern), err)
			}
		}
	}
	for i, key := range t.Platforms {
		if strings.TrimSpace(key.Key) == "" {
			d.fail(p.Append("platforms", i, "key"), policies.AtValue, "is empty: expected a key's fingerprint")
		}
	}
	for i, rule := range t.Paths {
		at := p.Append("paths", i)
		if rule.Pattern != "" {
			if err := checkPathPattern(rule.Pattern); err != nil {
				d.fail(at.Append("pattern"), policies.AtValue, "%w", err)
			}
		}
		d.filled(at.Append("signers"), len(rule.Signers))
	}
}

// checkPathPattern says what is wrong with a pattern of files of a repository.
func checkPathPattern(pattern string) error {
	if strings.Trim(pattern, "/") == "" {
		return fmt.Errorf("%q names no file: expected one such as clusters/prod/**", pattern)
	}
	if strings.Count(pattern, "**") > 4 {
		return fmt.Errorf("%q has more than four **", pattern)
	}
	for segment := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(segment, ""); err != nil {
			return fmt.Errorf("%q is no pattern: expected text with *, **, ? and [a-z] in it", pattern)
		}
	}
	return nil
}

func (c *Config) checkWriters(d *decoder) {
	seen := map[string]int{}
	for i, w := range c.Writers {
		p := policies.Path{"writers", i}
		d.uniqueName(p, w.Name, i, seen)
		d.patterns(p.Append("users"), w.Users, true)
		d.patterns(p.Append("groups"), w.Groups, true)
		if !d.written(p, "users") && !d.written(p, "groups") {
			d.fail(p, policies.AtValue, "names nobody: expected users or groups")
		}
		if _, written := policies.Lookup(d.object.Map(), p.Append("writes")); written {
			d.filled(p.Append("writes"), len(w.Writes))
		}
		for j, write := range w.Writes {
			d.patterns(p.Append("writes", j, "kinds"), write.Kinds, true)
			d.patterns(p.Append("writes", j, "namespaces"), write.Namespaces, false)
			d.patterns(p.Append("writes", j, "names"), write.Names, false)
		}
	}
}

func (c *Config) checkPolicies(d *decoder) {
	for i, s := range c.Policies {
		p := policies.Path{"policies", i}
		switch {
		case s.Path != "" && s.Library != "":
			d.fail(p.Append("library"), policies.AtKey, "policies[%d] has path and library: expected one of them", i)
		case s.Path != "":
			d.local(p.Append("path"), s.Path)
		case s.Library != "":
			if !libraryPattern().MatchString(s.Library) {
				d.fail(p.Append("library"), policies.AtValue, "%q is no name of a policy: expected one such as pod-security/restricted", s.Library)
			}
		case !d.written(p, "path") && !d.written(p, "library"):
			d.fail(p, policies.AtValue, "names no policies: expected path or library")
		}
		switch {
		case s.Version == "":
		case s.Library == "":
			d.fail(p.Append("version"), policies.AtKey, "policies[%d].version does not go with path: it is of the library", i)
		case !versionPattern().MatchString(s.Version):
			d.fail(p.Append("version"), policies.AtValue, "%q is no version: expected latest or a version of Kubernetes such as \"1.36\"", s.Version)
		}
	}
}

func (c *Config) checkSchemas(d *decoder) {
	for i, s := range c.Schemas {
		p := policies.Path{"schemas", i}
		if s.Path != "" {
			d.local(p.Append("path"), s.Path)
			for _, other := range []string{"kind", "names", "jsonSchema", "key"} {
				if d.written(p, other) {
					d.fail(p.Append(other), policies.AtKey, "schemas[%d].%s does not go with path: expected either path, for CustomResourceDefinitions, or kind and jsonSchema", i, other)
				}
			}
			continue
		}
		switch {
		case !d.written(p, "jsonSchema") && !d.written(p, "path"):
			d.fail(p, policies.AtValue, "names no schema: expected path, or kind and jsonSchema")
		case s.JSONSchema != "":
			d.local(p.Append("jsonSchema"), s.JSONSchema)
			if !d.written(p, "kind") {
				d.fail(p, policies.AtValue, "needs the field kind: which objects %s judges", s.JSONSchema)
			}
		}
		if s.Kind != "" && !kindPattern().MatchString(s.Kind) {
			d.fail(p.Append("kind"), policies.AtValue, "%q is no kind: expected one such as ConfigMap or Deployment.apps", s.Kind)
		}
		if s.Key != "" && s.Kind != "" && s.Kind != "ConfigMap" && s.Kind != "Secret" {
			d.fail(p.Append("key"), policies.AtKey, "schemas[%d].key is for the data of a ConfigMap or a Secret, and kind is %s", i, s.Kind)
		}
		d.patterns(p.Append("names"), s.Names, false)
	}
}

// written says whether the map at p has the field.
func (d *decoder) written(p policies.Path, field string) bool {
	_, ok := policies.Lookup(d.object.Map(), p.Append(field))
	return ok
}

func (d *decoder) filled(p policies.Path, n int) {
	if n == 0 {
		if _, written := policies.Lookup(d.object.Map(), p); written {
			d.fail(p, policies.AtValue, "is empty: expected at least one")
		}
	}
}

// patterns says which of the patterns path.Match would refuse. An empty list is for needed ones an error, since it would read
// as everything.
func (d *decoder) patterns(p policies.Path, patterns []string, needed bool) {
	if needed {
		d.filled(p, len(patterns))
	}
	for i, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			d.fail(p.Append(i), policies.AtValue, "%q is no pattern: expected text with *, ? and [a-z] in it, see Go's path.Match", pattern)
		}
	}
}

func (d *decoder) name(p policies.Path, name string) {
	if name != "" && !namePattern().MatchString(name) {
		d.fail(p, policies.AtValue, "%q is no name: expected lower-case letters, digits and hyphens", shortened(name))
	}
}

func (d *decoder) uniqueName(p policies.Path, name string, i int, seen map[string]int) {
	if name == "" {
		return
	}
	d.name(p.Append("name"), name)
	if first, ok := seen[name]; ok {
		d.fail(p.Append("name"), policies.AtValue, "%q is the name of %s[%d] too: expected another", name, p[0], first)
		return
	}
	seen[name] = i
}

// local refuses paths that leave the folder of gitgate.yaml, or that are no slash-separated paths.
func (d *decoder) local(p policies.Path, name string) {
	if name != "" && localPath(name) == "" {
		d.fail(p, policies.AtValue, "%q leads out of the folder of %s: expected a relative path with slashes, without \"..\"", shortened(name), FileName)
	}
}

// localPath is name as io/fs takes it, or "".
func localPath(name string) string {
	if strings.Contains(name, "\\") || strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return ""
	}
	clean := path.Clean(name)
	if !fs.ValidPath(clean) {
		return ""
	}
	return clean
}

func (d *decoder) atLeast(p policies.Path, n, least int) {
	if d.written(p[:len(p)-1], p[len(p)-1].(string)) && n < least {
		d.fail(p, policies.AtValue, "expected a number of at least %d, got %d", least, n)
	}
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "":
		if scpPattern().MatchString(s) && !strings.Contains(s, "//") {
			return nil
		}
		return fmt.Errorf("%q is no URL of a Git repository: expected https://, ssh://, file:// or user@host:path", shortened(s))
	case u.User != nil && hasPassword(u):
		return fmt.Errorf("the URL of %s carries a password: remove it, and give credentials to git", u.Host)
	case !slices.Contains([]string{"https", "http", "ssh", "git", "file"}, u.Scheme):
		return fmt.Errorf("%q is no scheme of a Git repository: expected https, ssh or file", u.Scheme)
	case u.Scheme != "file" && u.Host == "":
		return fmt.Errorf("%q names no host", shortened(s))
	default:
		return nil
	}
}

func hasPassword(u *url.URL) bool {
	_, ok := u.User.Password()
	return ok
}

// validBranch is git-check-ref-format(1) for a branch.
func validBranch(s string) bool {
	if strings.HasPrefix(s, "-") || s == "@" || strings.ContainsAny(s, " ~^:?*[\\\x7f") || strings.Contains(s, "..") || strings.Contains(s, "@{") || strings.HasSuffix(s, ".") {
		return false
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' })
}
