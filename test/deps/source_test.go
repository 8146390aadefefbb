package deps

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Names of drawers: what lies there belongs somewhere else.
var (
	drawerFiles   = []string{"util", "utils", "common", "helper", "helpers", "misc"}
	drawerFolders = append([]string{"internal", "pkg"}, drawerFiles...)
)

// forbidden are uses of the process that only cmd may make.
var forbidden = map[string][]string{
	"os":      {"Exit", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Args", "Stdout", "Stdin"},
	"fmt":     {"Print", "Printf", "Println"},
	"log":     {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
	"context": {"WithValue"},
}

// allowed are the exceptions: what git inherits is the user's environment, which is no input of ours.
var allowed = map[string]string{"desired/git": "Environ"}

// sourceProblems lists what file, at the slash-separated path name, has that no file may have.
func sourceProblems(fset *token.FileSet, name string, file *ast.File) []string {
	var out []string
	found := func(pos token.Pos, format string, args ...any) {
		p := fset.Position(pos)
		out = append(out, fmt.Sprintf("%s:%d:%d: %s", name, p.Line, p.Column, fmt.Sprintf(format, args...)))
	}
	isTest := strings.HasSuffix(name, "_test.go")
	folder := filepath.ToSlash(filepath.Dir(name))
	program := file.Name.Name == "main"
	product := !isTest && !program && !under(name, "test", "cmd")
	if program && !under(name, "test", "cmd") && filepath.Base(folder) != "gen" {
		found(file.Name.Pos(), "package main found, expected programs only under cmd, test and in folders named gen")
	}
	packages := map[string]string{} // the name that a file uses for an imported package
	for _, imp := range file.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		local := path[strings.LastIndexByte(path, '/')+1:]
		if imp.Name != nil {
			local = imp.Name.Name
		}
		packages[local] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				found(n.Pos(), "init function found, expected none: what runs at start is called from main")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || !product || x.Obj != nil {
				return true
			}
			if path := packages[x.Name]; slices.Contains(forbidden[path], n.Sel.Name) && allowed[folder] != n.Sel.Name {
				found(n.Pos(), "%s.%s found, expected it only under cmd: a package is told its input and returns its output", path, n.Sel.Name)
			}
		}
		return true
	})
	return out
}

// nameProblem says what is wrong with the name of a file or folder.
func nameProblem(path string, folder bool) string {
	base := filepath.Base(path)
	if folder && slices.Contains(drawerFolders, base) {
		return fmt.Sprintf("%s: folder named %s found, expected the name of what lies in it", path, base)
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(base, ".go"), "_test")
	if !folder && strings.HasSuffix(base, ".go") && slices.Contains(drawerFiles, stem) {
		return fmt.Sprintf("%s: file named %s found, expected the name of its subject", path, stem)
	}
	return ""
}

func TestSourceKeepsTheHouseRules(t *testing.T) {
	t.Parallel()
	top := root(t)
	documented := map[string]bool{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || name != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if problem := nameProblem(name, d.IsDir()); problem != "" {
			t.Error(problem)
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, problem := range sourceProblems(fset, name, file) {
			t.Error(problem)
		}
		folder := filepath.ToSlash(filepath.Dir(rel))
		documented[folder] = documented[folder] || file.Doc != nil && strings.TrimSpace(file.Doc.Text()) != ""
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(documented) == 0 {
		t.Fatal("no Go file was found: the test would hold nothing")
	}
	for folder, has := range documented {
		if !has {
			t.Errorf("%s: package without a doc comment found, expected its one responsibility", folder)
		}
	}
}

func TestAFileThatBreaksARuleIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, source, want string }{
		{"a plain file", "report/a.go", "package a\nimport \"os\"\nfunc f() { os.ReadFile(\"x\") }", ""},
		{"an init function", "report/a.go", "package a\nfunc init() {}", "report/a.go:2:1: init function found"},
		{"a method named init", "report/a.go", "package a\ntype t int\nfunc (t) init() {}", ""},
		{"an exit", "report/a.go", "package a\nimport \"os\"\nfunc f() { os.Exit(1) }", "report/a.go:3:12: os.Exit found"},
		{"an exit in cmd", "cmd/gitgate/main.go", "package main\nimport \"os\"\nfunc main() { os.Exit(1) }", ""},
		{"an exit in a test", "report/a_test.go", "package a\nimport \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"the environment under another name", "report/a.go", "package a\nimport sys \"os\"\nvar v = sys.Getenv(\"X\")", "os.Getenv found"},
		{"a variable named like a package", "report/a.go", "package a\nimport \"fmt\"\nfunc f(fmt p) { fmt.Println() }", ""},
		{"printing", "report/a.go", "package a\nimport \"fmt\"\nfunc f() { fmt.Println() }", "fmt.Println found"},
		{"a program among the packages", "report/main.go", "package main", "package main found"},
		{"a generator", "apiserver/openapi/gen/main.go", "package main\nimport \"os\"\nfunc main() { os.Exit(1) }", ""},
		{"inputs in a context", "report/a.go", "package a\nimport \"context\"\nvar c = context.WithValue(nil, 1, 2)", "context.WithValue found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, c.file, c.source, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(sourceProblems(fset, c.file, file), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
	for path, folder := range map[string]bool{"internal": true, "a/pkg": true, "a/util": true, "a/helpers.go": false, "a/common_test.go": false} {
		if nameProblem(path, folder) == "" {
			t.Errorf("%s is not refused", path)
		}
	}
	if p := nameProblem("report/text.go", false) + nameProblem("report", true); p != "" {
		t.Errorf("good names are refused: %s", p)
	}
}
