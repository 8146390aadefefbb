// Package gen makes up the manifests of a GitOps repository: any number of them, of all common kinds, of the size that teams
// write, and valid on Kubernetes 1.36. It is for benchmarks and for tests that need much input. It is deterministic: the first n
// manifests of a larger tree are the tree of n. It knows nothing of gitgate and imports the standard library only.
package gen

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"text/template"
)

//go:embed templates/*.tmpl
var templates embed.FS

// Manifest is one generated manifest.
type Manifest struct {
	Path string // slash-separated file it belongs to, relative to the tree's root; several manifests may share one
	Kind string
	Text string // one YAML document without a separator; ends with a newline
}

// Manifests yields n manifests. Those of one file follow each other.
func Manifests(n int) iter.Seq[Manifest] {
	t := parse()
	return func(yield func(Manifest) bool) {
		left := n
		for i := 0; left > 0; i++ {
			a := newApp(i)
			for _, part := range a.parts() {
				if left == 0 {
					return
				}
				left--
				if !yield(part.render(t, a)) {
					return
				}
			}
		}
	}
}

// WriteDocuments writes n manifests to w as one multi-document YAML file.
func WriteDocuments(w io.Writer, n int) error {
	for m := range Manifests(n) {
		if _, err := io.WriteString(w, "---\n"+m.Text); err != nil {
			return fmt.Errorf("generated documents: %w", err)
		}
	}
	return nil
}

// app is one thing a team runs: what the templates are filled with.
type app struct {
	Index                                  int
	Shape                                  string // web, worker, stateful, batch, agent
	Name, Team, Env, Namespace, Component  string
	Image, Tag, ProxyTag, Host, LogLevel   string
	Checksum, DatabaseURL                  string
	Port, Replicas, CPU, Memory, Storage   int
	UID, Minute, Hour, Octet               int
	Secret, Init, Sidecar, Debug, External bool
	Env1, Settings                         []setting
	Upstreams                              []string
}

type setting struct{ Key, Value string }

const (
	appsPerTeam    = 25
	appsPerCluster = 100
)

func newApp(i int) *app {
	// The seed is the index alone, so that an app is the same in a tree of any size.
	r := rand.New(rand.NewPCG(uint64(i), 0x676974676174))
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	team := i / appsPerTeam
	a := &app{
		Index:     i,
		Shape:     pick(shapes),
		Team:      teams[team%len(teams)],
		Env:       []string{"prod", "staging"}[team/len(teams)%2],
		Component: pick(components),
		Tag:       fmt.Sprintf("%d.%d.%d", 1+r.IntN(4), r.IntN(30), r.IntN(12)),
		ProxyTag:  fmt.Sprintf("v2.%d.0", r.IntN(9)),
		LogLevel:  pick([]string{"info", "info", "info", "warn", "debug"}),
		Checksum:  fmt.Sprintf("%016x", r.Uint64()),
		Port:      8000 + r.IntN(1000),
		Replicas:  2 + r.IntN(5),
		CPU:       25 * (1 + r.IntN(40)),
		Memory:    64 * (1 + r.IntN(32)),
		Storage:   5 * (1 + r.IntN(40)),
		UID:       10000 + r.IntN(50000),
		Minute:    r.IntN(60),
		Hour:      r.IntN(24),
		Octet:     1 + r.IntN(250),
		Secret:    r.IntN(2) == 0,
		Init:      r.IntN(4) == 0,
		Sidecar:   r.IntN(3) == 0,
		Debug:     r.IntN(20) == 0,
		External:  r.IntN(20) == 0,
	}
	a.Name = fmt.Sprintf("%s-%s-%04d", pick(subjects), a.Component, i)
	a.Namespace = fmt.Sprintf("%s-%s", a.Team, a.Env)
	if round := team / (2 * len(teams)); round > 0 {
		a.Namespace = fmt.Sprintf("%s-%02d-%s", a.Team, round, a.Env)
	}
	a.Image = fmt.Sprintf("registry.example.com/%s/%s:%s", a.Team, a.Component, a.Tag)
	a.Host = fmt.Sprintf("%s.%s.example.com", a.Name, a.Env)
	a.DatabaseURL = base64.StdEncoding.EncodeToString([]byte("postgres://" + a.Name + "@db.example.com:5432/" + a.Team))
	for k := range r.IntN(6) {
		a.Env1 = append(a.Env1, setting{fmt.Sprintf("FEATURE_%s_%d", strings.ToUpper(pick(subjects)), k), `"` + pick([]string{"true", "false", "10", "on"}) + `"`})
	}
	for k := range 3 + r.IntN(12) {
		a.Settings = append(a.Settings, setting{fmt.Sprintf("%s.%s.%d", pick(subjects), pick(components), k), `"` + fmt.Sprint(r.IntN(10000)) + `"`})
	}
	for range 1 + r.IntN(4) {
		a.Upstreams = append(a.Upstreams, pick(subjects)+"-"+pick(components))
	}
	return a
}

var (
	shapes     = []string{"web", "web", "web", "web", "web", "web", "worker", "stateful", "stateful", "batch", "batch", "agent"}
	teams      = []string{"payments", "shop", "identity", "search", "logistics", "billing", "media", "insights", "support", "platform"}
	components = []string{"api", "web", "worker", "gateway", "store", "sync", "index", "relay", "cache", "feed"}
	subjects   = []string{"orders", "carts", "users", "tokens", "prices", "stock", "parcels", "invoices", "refunds", "reviews", "images", "events", "mails", "alerts"}
)

// part is one manifest of an app: its template and the file it goes to.
type part struct {
	kind, template, file string
}

func (p part) render(t *template.Template, a *app) Manifest {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, p.template, a); err != nil {
		panic(fmt.Sprintf("template %s of the generator: %v", p.template, err)) // the templates are ours and embedded
	}
	return Manifest{Path: p.file, Kind: p.kind, Text: b.String()}
}

func parse() *template.Template {
	t := template.New("gen")
	t.Funcs(template.FuncMap{
		"double": func(n int) int { return 2 * n },
		// include renders a template whose lines but the first are indented.
		"include": func(name string, a *app, indent int) (string, error) {
			var b strings.Builder
			if err := t.ExecuteTemplate(&b, name, a); err != nil {
				return "", err
			}
			return strings.ReplaceAll(b.String(), "\n", "\n"+strings.Repeat(" ", indent)), nil
		},
	})
	return template.Must(t.ParseFS(templates, "templates/*.tmpl"))
}
