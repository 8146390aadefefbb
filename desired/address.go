package desired

import (
	"net/url"
	"path"
	"regexp"
	"strings"
)

var scpAddress = regexp.MustCompile(`^(?:[A-Za-z0-9._~-]+@)?(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([^/].*|/[^/].*)$`)

// SameRepository says whether two addresses name one repository: over https, ssh or in scp's form, with or without a user, a
// default port and a final ".git". The host counts in lower case, the path as it is written.
func SameRepository(a, b string) bool {
	x, okX := address(a)
	y, okY := address(b)
	return okX && okY && x == y
}

// address is the host and path that an address names. The protocol is not part of it: a repository is the same over ssh and https.
func address(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", false
	}
	if !strings.Contains(s, "://") {
		m := scpAddress.FindStringSubmatch(s)
		if m == nil || len(m[1]) == 1 { // C:\path
			return "file:" + path.Clean(s), path.IsAbs(s)
		}
		return strings.ToLower(m[1]) + "/" + repositoryPath(m[2]), true
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme == "file" {
		return "file:" + path.Clean(u.Path), path.IsAbs(u.Path)
	}
	host := strings.ToLower(u.Host)
	for protocol, port := range map[string]string{"https": ":443", "http": ":80", "ssh": ":22", "git": ":9418"} {
		if scheme == protocol {
			host = strings.TrimSuffix(host, port)
		}
	}
	if host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	return host + "/" + repositoryPath(u.Path), true
}

func repositoryPath(p string) string {
	clean := strings.Trim(path.Clean("/"+p), "/")
	return strings.TrimSuffix(clean, ".git")
}
