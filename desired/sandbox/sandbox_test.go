package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"text/template"
	"time"

	"gitgate.dev/gitgate/desired/sandbox"
)

func execute(t testing.TB, text string, data any) (sandbox.Output, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := sandbox.New(ctx, sandbox.DefaultLimits(), sandbox.Sprig(&sandbox.World{Seed: 1}), "zero")
	if err := s.Parse("t", text); err != nil {
		return sandbox.Output{}, err
	}
	return s.Execute("t", data)
}

// What is put into a template does not show: it writes what text/template writes.
func TestATemplateWritesWhatItWroteBefore(t *testing.T) {
	data := map[string]any{"a": "A", "n": 3, "list": []any{"x", nil, 1.5}, "map": map[string]any{"k": "v"}, "nil": nil}
	for _, text := range []string{
		"", "plain", "{{ .a }}", "{{- .a -}} b", "{{ .none }}", "{{ .nil }}", "{{ .map.none }}", "{{ with .nil }}x{{ else }}y{{ end }}",
		"{{ range .list }}[{{ . }}]{{ else }}none{{ end }}", "{{ range $i, $x := .list }}{{ if $i }},{{ end }}{{ $x }}{{ end }}",
		"{{ $x := .a }}{{ $x = \"b\" }}{{ $x }}", "{{ define \"d\" }}<{{ . }}>{{ end }}{{ template \"d\" .a }}{{ template \"d\" }}",
		"{{ range 3 }}{{ . }}{{ end }}", "{{ printf \"%v %d\" .a .n | upper }}", "{{ .list }} {{ .map }} {{ .n }}", "{{ block \"b\" .a }}{{ . }}{{ end }}",
		"{{ if and .a (not .nil) }}yes{{ else if .n }}no{{ end }}", "{{/* c */}}x", "{{ range .map }}{{ break }}{{ end }}", "{{ len .list }}{{ index .list 2 }}",
		"{{ range $k, $v := .map }}{{ $k }}{{ $v }}{{ continue }}z{{ end }}",
	} {
		t.Run(text, func(t *testing.T) {
			var want strings.Builder
			plain, err := template.New("t").Option("missingkey=zero").Funcs(sandbox.Sprig(&sandbox.World{Seed: 1})).Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := plain.Execute(&want, data); err != nil {
				t.Fatal(err)
			}
			got, err := execute(t, text, data)
			if err != nil || got.Text != want.String() {
				t.Errorf("got %q, %v, want %q", got.Text, err, want.String())
			}
		})
	}
}

func TestTheTextThatHelmTakesOutIsTakenOutOfTheMarksToo(t *testing.T) {
	out, err := execute(t, "a{{ .x }}b{{ .y }}{{ \"c\" }}", map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	out = out.WithoutNoValue()
	if out.Text != "abc" {
		t.Fatalf("text %q", out.Text)
	}
	for _, m := range out.Marks {
		if m.Literal && m.Output < len(out.Text) && "a{{ .x }}b{{ .y }}{{ \"c\" }}"[m.Offset] != out.Text[m.Output] {
			t.Errorf("mark %v shows another text", m)
		}
	}
}

// No template makes the sandbox panic or run without end, and what marks say is in the template.
func FuzzATemplateIsBounded(f *testing.F) {
	for _, seed := range []string{
		"{{ . }}", "{{ range 100000000 }}{{ end }}", "{{ repeat 99999999 \"x\" }}", "{{ $x := dict }}{{ $_ := set $x \"x\" $x }}{{ toJson $x }}",
		"{{ tpl .a . }}", "{{ include \"t\" . }}", "{{ define \"t\" }}{{ end }}{{ regexReplaceAll \"a*\" .a \"$0$0\" }}", "{{ join .a (until 99) }}",
		"{{ .a | indent 9 | nindent 99 | quote | trunc -3 }}", "{{ untilStep 0 99 -1 }}{{ seq 0 -9 }}", "{{ printf \"%*d\" 99999 1 }}", "{{ mergeOverwrite . . }}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := execute(t, text, map[string]any{"a": "{{ tpl .a . }}", "list": []any{1, "b"}})
		if err != nil {
			if strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
				t.Fatalf("the template is not bounded: %v", err)
			}
			return
		}
		for _, m := range out.Marks {
			if m.Template == "t" && (m.Offset < 0 || m.Offset > len(text)) || m.Output > len(out.Text) {
				t.Fatalf("mark %v of %q", m, text)
			}
		}
	})
}
