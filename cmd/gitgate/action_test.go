package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// TestTheActionHandsItsInputsOnAsTheyAre runs the script of the composite action with a program in gitgate's place.
func TestTheActionHandsItsInputsOnAsTheyAre(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	var action struct {
		Inputs map[string]any
		Runs   struct {
			Steps []struct {
				ID, Run string
				Env     map[string]string
			}
		}
	}
	readYAML(t, "action.yml", &action)
	step := action.Runs.Steps[len(action.Runs.Steps)-1]
	if step.ID != "check" {
		t.Fatalf("the last step is %q, want check", step.ID)
	}
	if strings.Contains(step.Run, "${{") {
		t.Error("the script has inputs in its text, where they are read as shell")
	}
	for _, c := range []struct {
		name, exit string
		env        []string
		want       string
	}{
		{"no inputs", "0", nil, "check|-o|github|--|"},
		{"all inputs", "1", []string{"GITGATE_PATHS=clusters/prod\na b.yaml\n", "GITGATE_CONFIG=x.yaml", "GITGATE_ARGS=--fail-on=warn", "GITGATE_SARIF=out.sarif"},
			"check|-o|github|-o|sarif=out.sarif|--config=x.yaml|--fail-on=warn|--|clusters/prod|a b.yaml|"},
		{"inputs that look like shell", "3", []string{"GITGATE_PATHS=$(touch owned); `touch owned`\n--config=evil"}, "check|-o|github|--|$(touch owned); `touch owned`|--config=evil|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			fake := "#!/bin/sh\nprintf '%s|' \"$@\" >" + dir + "/arguments\nexit " + c.exit + "\n"
			if err := os.WriteFile(filepath.Join(dir, "gitgate"), []byte(fake), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.Run)
			cmd.Dir = dir
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "RUNNER_TEMP=" + dir, "GITHUB_OUTPUT=" + dir + "/output"}, c.env...)
			for name := range step.Env {
				if !strings.Contains(strings.Join(c.env, "\n"), name+"=") {
					cmd.Env = append(cmd.Env, name+"=")
				}
			}
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); c.exit != string(rune('0'+got)) {
				t.Errorf("exit code %d, want %s (%v)\n%s", got, c.exit, err, out)
			}
			got, err := os.ReadFile(filepath.Join(dir, "arguments"))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("arguments %s, want %s", got, c.want)
			}
			if said, _ := os.ReadFile(filepath.Join(dir, "output")); string(said) != "exit-code="+c.exit+"\n" {
				t.Errorf("output %q", said)
			}
			if _, err := os.Stat(filepath.Join(dir, "owned")); err == nil {
				t.Error("an input was run as shell")
			}
		})
	}
}

// TestTheHooksRunFlagsThatExist parses the entries of .pre-commit-hooks.yaml by gitgate's own flags.
func TestTheHooksRunFlagsThatExist(t *testing.T) {
	var hooks []struct{ ID, Entry, Language string }
	readYAML(t, ".pre-commit-hooks.yaml", &hooks)
	if len(hooks) == 0 {
		t.Fatal("no hooks")
	}
	for _, h := range hooks {
		p, _, _ := in(t)
		words := strings.Fields(h.Entry)
		cmd, rest, err := p.command().Find(words[1:])
		if err != nil || words[0] != "gitgate" || cmd.Name() != "check" {
			t.Errorf("%s runs %q: %v", h.ID, h.Entry, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s runs %q: %v", h.ID, h.Entry, err)
		}
		if h.Language != "golang" {
			t.Errorf("%s is built as %q, want golang", h.ID, h.Language)
		}
	}
}
