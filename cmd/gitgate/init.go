package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies/bundle"
)

//go:embed init
var templates embed.FS

func (p *program) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a gitgate.yaml, a pre-commit entry and a CI workflow",
		Long: `Write a commented gitgate.yaml, a pre-commit entry and a CI workflow into DIR, by default the current folder: the root of the
GitOps repository. A file that exists is never touched; what would have been written to it is shown instead.`,
		RunE: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return p.init(p.dir)
			case 1:
				return p.init(p.abs(args[0]))
			default:
				return usage("init: expected one folder, got %d", len(args))
			}
		},
	}
}

func (p *program) init(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usage("init: folder %s does not exist; make it first", p.shown(dir))
	case err != nil:
		return exitWith(exitUsage, fmt.Errorf("init: %w", err))
	case !info.IsDir():
		return usage("init: %s is a file, expected a folder", p.shown(dir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return exitWith(exitUsage, fmt.Errorf("init: %w", err))
	}
	defer root.Close()
	values := strings.NewReplacer(
		"{{name}}", sourceName(filepath.Base(dir)), "{{path}}", manifestFolder(root), "{{policies}}", policiesItem(root), "{{version}}", installVersion(),
	)
	for _, f := range []struct{ template, name string }{
		{"gitgate.yaml", bundle.FileName},
		{"pre-commit-config.yaml", ".pre-commit-config.yaml"},
		{"workflow.yaml", ".github/workflows/gitgate.yaml"},
	} {
		text, err := templates.ReadFile("init/" + f.template)
		if err != nil {
			return err
		}
		if err := p.writeNew(root, dir, f.name, values.Replace(string(text))); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that does not exist yet, or shows what it would have held.
func (p *program) writeNew(root *os.Root, dir, name, text string) error {
	shown := p.shown(filepath.Join(dir, name))
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("init: folder of %s: %w", shown, cause(err)))
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		_, err := fmt.Fprintf(p.stdout, "left   %s: it exists; to be put into it by hand:\n\n    %s\n\n", shown, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    "))
		return err
	}
	if err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("init: %s: %w", shown, cause(err)))
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return exitWith(exitUnjudged, fmt.Errorf("init: %s: %w", shown, cause(err)))
	}
	_, err = fmt.Fprintf(p.stdout, "wrote  %s\n", shown)
	return err
}

// manifestFolder is the folder that manifests are most likely in.
func manifestFolder(root *os.Root) string {
	for _, name := range []string{"clusters", "apps", "manifests", "kubernetes", "k8s", "deploy"} {
		if info, err := root.Stat(name); err == nil && info.IsDir() {
			return name
		}
	}
	return "."
}

// policiesItem is the field policies: the Pod Security Standard that hardly anything breaks, as a warning, and the folder of own
// policies, commented out when there is none yet.
func policiesItem(root *os.Root) string {
	const shipped = "policies:\n  - {library: pod-security/baseline, action: warn}\n"
	if info, err := root.Stat("policies"); err == nil && info.IsDir() {
		return shipped + "  - path: policies/"
	}
	return shipped + "#   - path: policies/\n#   - {path: policies/new/, action: warn}"
}

func sourceName(folder string) string {
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(folder), "-"), "-")
	if name == "" {
		return "fleet"
	}
	return name
}

func installVersion() string {
	if v := buildVersion(); regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(v) {
		return v
	}
	return "latest"
}
