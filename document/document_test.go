package document_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/document"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

func TestTextsBecomeDocuments(t *testing.T) {
	for _, c := range []struct {
		name, parser, text, want string
	}{
		{"json of any root", "json", `["a", 1, {"b": null}]`, `["a",1,{"b":null}]`},
		{"json after json", "json", "{\"a\": 1}\n{\"a\": 2}", `{"a":1} {"a":2}`},
		{"no json", "json", "a: 1", `f:1:1 syntax: text is not JSON: invalid character 'a' looking for beginning of value`},
		{"text behind json", "json", "{\"a\": 1} b", `{"a":1} f:1:10 syntax: text is not JSON: invalid character 'b' looking for beginning of value`},
		{"json that ends early", "json", "{\"a\":\n [1,", `f:2:5 syntax: text is not JSON: it ends inside a value`},
		{"a key twice", "json", `{"a": 1, "a": 2}`, `{"a":2} f:1:10 duplicate-key: key "a" is written twice, first at line 1; expected once`},
		{"yaml without kind", "yaml", "a: [1, yes]\n---\n- b\n", `{"a":[1,true]} ["b"]`},
		{"no yaml", "yaml", "a: [", `f:1:1 syntax: value is missing, or begins with a character that cannot begin one`},

		{"a block is a list below its labels", "hcl", "a \"b\" \"c\" {\n d = 1\n}\na \"b\" \"c\" {\n d = 2\n}\n", `{"a":{"b":{"c":[{"d":1},{"d":2}]}}}`},
		{"blocks without labels", "hcl", "locals {\n a = 1\n}\nlocals {\n b = 2\n}\n", `{"locals":[{"a":1},{"b":2}]}`},
		{"values", "hcl", "a = -1.5\nb = true\nc = null\nd = [1, \"x\"]\ne = { f = 1, \"g h\" = 2, (var.k) = 3, 4 = 5 }\n",
			`{"a":-1.5,"b":true,"c":null,"d":[1,"x"],"e":{"${(var.k)}":3,"4":5,"f":1,"g h":2}}`},
		{"expressions are text", "hcl", "a = var.x\nb = \"${var.x}-y\"\nc = upper(\"a\")\nd = 1 + 2\ne = \"${var.x}\"\nf = x ? 1 : 2\n",
			`{"a":"${var.x}","b":"${var.x}-y","c":"${upper(\"a\")}","d":"${1 + 2}","e":"${var.x}","f":"${x ? 1 : 2}"}`},
		{"types are text", "hcl", "variable \"a\" {\n type = list(string)\n}\n", `{"variable":{"a":[{"type":"list(string)"}]}}`},
		{"a heredoc is text", "hcl", "a = <<EOT\nb\nc\nEOT\n", `{"a":"b\nc\n"}`},
		{"labels of another number", "hcl", "a \"b\" {\n}\na {\n}\n", `f:3:1 syntax: block a has other labels than those of the same name before it, expected as many`},
		{"a number that JSON has not", "hcl", "a = 1e400\n", `f:1:5 syntax: value has no form in JSON`},
		{"no hcl", "hcl", "a = [\n", `f:2:1 syntax: text is no HCL: Missing expression: Expected the start of an expression, but found the end of the file.`},
		{"hcl of many levels", "hcl", "a = " + strings.Repeat("[", 600) + "\n", "f:1:505 too-deep: document has more than 500 levels, expected less"},
		{"hcl of many signs", "hcl", "a = " + strings.Repeat("!", 600) + "true\n", "f:1:105 too-deep: document has more than 500 levels, expected less"},

		{"toml", "toml", "a = 1\n[b]\nc = 2026-11-26T10:00:00Z\n[[d]]\ne = 1.5\n[[d]]\n", `{"a":1,"b":{"c":"2026-11-26T10:00:00Z"},"d":[{"e":1.5},{}]}`},
		{"no toml", "toml", "a = \n", `f:1:5 syntax: text is no TOML: expected value but found '\n' instead`},
		{"toml of many levels", "toml", "a = " + strings.Repeat("[", 600), "f:0:0 too-deep: document has more than 500 levels, expected less"},

		{"dotenv", "dotenv", "# c\nA=1\nexport B=\"x\\ny\" # c\nC='$A' \nD=a b # c\nE=\n", `{"A":"1","B":"x\ny","C":"$A","D":"a b","E":""}`},
		{"no dotenv", "dotenv", "A=1\nb c\nD=\"x\n", "f:2:1 syntax: line is no variable, expected NAME=VALUE f:3:1 syntax: line is no variable, expected NAME=VALUE"},
		{"a name that says nothing", "auto", "a", "f:0:0 syntax: file's name does not say what it holds, expected one of the endings .json, .tfstate, .yaml, .yml, .tf, .hcl, .tfvars, .toml, .env"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := document.Named(c.parser)
			if err != nil {
				t.Fatal(err)
			}
			if got := told(p.Parse("f", []byte(c.text), manifest.Limits{})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func told(objects []*policies.Object, problems []manifest.Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, fmt.Sprintf("%s:%d:%d %s: %s", p.Pos.File, p.Pos.Line, p.Pos.Column, p.Rule, p.Message))
	}
	var values []string
	for _, o := range objects {
		text, err := json.Marshal(o.Value())
		if err != nil {
			return err.Error()
		}
		values = append(values, string(text))
	}
	return strings.Join(append(values, out...), " ")
}

func TestAFieldIsFoundWhereItIsWritten(t *testing.T) {
	hcl := "a \"b\" {\n  ä = 1\n  c = [\"x\", { d = \"y\" }]\n}\n"
	for _, c := range []struct {
		parser, text string
		path         policies.Path
		at           policies.Aspect
		want         string
	}{
		{"hcl", hcl, policies.Path{"a", "b", 0, "ä"}, policies.AtValue, "2:8"},
		{"hcl", hcl, policies.Path{"a", "b", 0, "ä"}, policies.AtKey, "2:3"},
		{"hcl", hcl, policies.Path{"a", "b", 0, "c", 1, "d"}, policies.AtValue, "3:19"},
		{"hcl", hcl, policies.Path{"a", "b", 0, "c", 1, "e"}, policies.AtValue, "3:13"},
		{"hcl", hcl, policies.Path{"a", "b", 0}, policies.AtValue, "1:1"},
		{"json", "{\"a\":\n [1, 2]}", policies.Path{"a", 1}, policies.AtValue, "2:6"},
		{"toml", "a = 1\n  b.c = \"\"\"\nd = 2\n\"\"\"\nd = [1,\n 2]\n", policies.Path{"d"}, policies.AtValue, "5:6"},
		{"toml", "a = 1\n  b.c = 2\n", policies.Path{"b", "c"}, policies.AtValue, "2:9"},
		{"toml", "a = 1\n\n[b.\"c d\"]\ne = {f = 1}\n", policies.Path{"b", "c d", "e", "f"}, policies.AtValue, "4:6"},
		{"toml", "a = 1\n\n[b]\nc = 2\n", policies.Path{"b", "d"}, policies.AtValue, "3:2"},
		{"toml", "a = [1, 2]\n", policies.Path{"a", 1}, policies.AtValue, "1:6"},
		{"toml", "x = 1\n[[a]]\nb = 1\n[[a]]\nb = 2\n", policies.Path{"a", 0, "b"}, policies.AtValue, "1:1"},
		{"dotenv", "A=1\n B=2\n", policies.Path{"B"}, policies.AtValue, "2:2"},
	} {
		p, err := document.Named(c.parser)
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := p.Parse("f", []byte(c.text), manifest.Limits{})
		if len(objects) != 1 || len(problems) > 0 {
			t.Fatalf("%q: %d objects, %v", c.text, len(objects), problems)
		}
		pos := objects[0].Locate(c.path, c.at)
		if got := fmt.Sprintf("%d:%d", pos.Line, pos.Column); got != c.want {
			t.Errorf("%s of %q: got %s, expected %s", c.path, c.text, got, c.want)
		}
	}
}

func TestFilesAreChosenByTheirNames(t *testing.T) {
	for _, c := range []struct {
		parser, file string
		want         bool
	}{
		{"json", "a/plan.JSON", true}, {"json", "a.yaml", false}, {"auto", "a.tf", true}, {"auto", "a.tf.json", true}, {"auto", ".env", true},
		{"auto", "a.txt", false}, {"hcl2", "a.tfvars", true}, {"yaml", "compose.yml", true},
	} {
		p, err := document.Named(c.parser)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Reads(c.file); got != c.want {
			t.Errorf("%s reads %s: got %v, expected %v", c.parser, c.file, got, c.want)
		}
	}
	if _, err := document.Named("xml"); err == nil || !strings.Contains(err.Error(), "expected one of auto, json, yaml, hcl, toml, dotenv") {
		t.Errorf("got %v", err)
	}
}

func FuzzNoTextBringsAParserDown(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1]}`, "a: &b {c: *b}", "a \"b\" {\n c = \"${d}\"\n}", "a = <<E\n${x}\nE\n", "[a.b]\nc = [[1], {d = 2}]", "A=\"b\nC='d'", "a = x ? y : z", "%{ for }",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range document.Names() {
			p, err := document.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, problems := p.Parse("f.json", []byte(text), manifest.Limits{Document: 1 << 16, Depth: 50, Fields: 1 << 12})
			for _, o := range objects {
				if _, err := json.Marshal(o.Value()); err != nil {
					t.Errorf("%s: document that is no JSON: %v", name, err)
				}
				o.Locate(policies.Path{"a", 0}, policies.AtValue)
			}
			for _, p := range problems {
				if p.Message == "" {
					t.Errorf("%s: problem without words", name)
				}
			}
		}
	})
}
