package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policies"
)

// docBlock is a block of docs/output.md that this test owns: a comment that names it, and what follows up to the closing comment.
var docBlock = regexp.MustCompile(`(?s)<!-- example: ([a-z-]+) -->\n(.*?)<!-- end -->`)

func TestTheExamplesOfTheDocumentationAreWhatIsWritten(t *testing.T) {
	t.Parallel()
	const file = "../docs/output.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	got := docBlock.ReplaceAllStringFunc(string(text), func(block string) string {
		name := docBlock.FindStringSubmatch(block)[1]
		seen[name] = true
		return fmt.Sprintf("<!-- example: %s -->\n%s<!-- end -->", name, docExample(t, name))
	})
	for _, name := range append(Formats(), "summary", "fields", "by-control") {
		if !seen[name] {
			t.Errorf("%s has no example named %s", file, name)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s does not show what is written; go test ./report -update mends it. Expected:\n%s", file, got)
	}
}

func docExample(t *testing.T, name string) string {
	decisions, s := small()
	fence := func(language, text string) string { return "```" + language + "\n" + text + "```\n" }
	indented := func(text string) string {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	switch name {
	case "fields":
		return fieldTable(t)
	case "summary":
		var b strings.Builder
		if err := WriteSummary(&b, s); err != nil {
			t.Fatal(err)
		}
		return fence("text", b.String())
	case "text", "github":
		return fence("text", render(t, name, Options{}, decisions, s))
	case "by-control":
		return fence("text", render(t, "text", Options{ByControl: true}, decisions, s))
	case "junit":
		return fence("xml", render(t, name, Options{}, decisions, s))
	default:
		return fence("json", indented(render(t, name, Options{Version: "v0.1.0"}, decisions, s)))
	}
}

// small is a run that fits on a page.
func small() ([]policies.Decision, Summary) {
	all, _ := fleet()
	d := all[1]
	d.Results = d.Results[1:5:5]
	s := Summary{
		Digest: "sha256:ab12cd34ef560718293a4b5c6d7e8f90ab12cd34ef560718293a4b5c6d7e8f90",
		Files:  1, Objects: 1, Policies: []*policies.Policy{limits, owner, images}, Elapsed: 42 * time.Millisecond,
	}
	d.Results = append(d.Results[:3:3], policies.Result{Policy: schemaPolicy, Outcome: policies.Passed})
	s.Policies = append(s.Policies, schemaPolicy)
	s.Count(&d)
	s.ExitCode = ExitCode(s.Verdict)
	return []policies.Decision{d}, s
}

// fieldTable describes each field of the json format with the words of its schema.
func fieldTable(t *testing.T) string {
	var schema map[string]any
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	var b strings.Builder
	b.WriteString("| field | type | |\n|---|---|---|\n")
	var walk func(prefix string, schema map[string]any)
	walk = func(prefix string, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		names := make([]string, 0, len(properties))
		for name := range properties {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			p := properties[name].(map[string]any)
			words, _ := p["description"].(string)
			resolve := func(s map[string]any) map[string]any {
				if ref, ok := s["$ref"].(string); ok {
					return defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
				}
				return s
			}
			p = resolve(p)
			if words == "" {
				words, _ = p["description"].(string)
			}
			kind, _ := p["type"].(string)
			path, inner := prefix+name, p
			if kind == "array" {
				inner = resolve(p["items"].(map[string]any))
				kind = "list of " + inner["type"].(string) + "s"
				path += "[]"
			}
			if values, ok := p["enum"].([]any); ok {
				all := make([]string, len(values))
				for i, v := range values {
					all[i] = fmt.Sprint(v)
				}
				kind = strings.Join(all, ", ")
			}
			for _, r := range required {
				if r == name {
					kind += "; always"
				}
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, kind, words)
			walk(path+".", inner)
		}
	}
	walk("", schema)
	return b.String()
}
