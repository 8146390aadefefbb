package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// enumTree is the enums below a place of a schema.
type enumTree struct {
	values   []string
	children map[string]*enumTree // by property; "" for the items of a list or the values of a map
}

func (t *enumTree) of(property string) *enumTree {
	if t == nil {
		return nil
	}
	return t.children[property]
}

func (t *enumTree) item() *enumTree { return t.of("") }

// readEnums reads the enums of pkg/generated/openapi of a Kubernetes source tree, by type name. The published OpenAPI documents
// leave them out.
func readEnums(dir string) map[string]*enumTree {
	file := filepath.Join(dir, "pkg", "generated", "openapi", "zz_generated.openapi.go")
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		log.Fatal(err)
	}
	out := map[string]*enumTree{}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		// Only the types of k8s.io/api have names that tell their group and version, and only they have enums that matter.
		rest, ok := strings.CutPrefix(f.Name.Name, "schema_k8sio_api_")
		if !ok {
			continue
		}
		if tree := enumsIn(f.Body); tree != nil {
			out["io.k8s.api."+strings.Join(strings.SplitN(rest, "_", 3), ".")] = tree
		}
	}
	if len(out) == 0 {
		log.Fatalf("%s: no enums", file)
	}
	return out
}

// enumsIn finds the outermost Properties, Items, AdditionalProperties and Enum below n.
func enumsIn(n ast.Node) *enumTree {
	tree := &enumTree{children: map[string]*enumTree{}}
	ast.Inspect(n, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		key, _ := kv.Key.(*ast.Ident)
		if key == nil {
			return true
		}
		switch key.Name {
		case "Properties":
			for _, elt := range kv.Value.(*ast.CompositeLit).Elts {
				prop := elt.(*ast.KeyValueExpr)
				if child := enumsIn(prop.Value); child != nil {
					tree.children[text(prop.Key)] = child
				}
			}
			return false
		case "Items", "AdditionalProperties":
			if child := enumsIn(kv.Value); child != nil {
				tree.children[""] = child
			}
			return false
		case "Enum":
			for _, elt := range kv.Value.(*ast.CompositeLit).Elts {
				tree.values = append(tree.values, text(elt))
			}
			slices.Sort(tree.values)
			return false
		}
		return true
	})
	if len(tree.values) == 0 && len(tree.children) == 0 {
		return nil
	}
	return tree
}

func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		log.Fatalf("expected a string, found %T", e)
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		log.Fatal(err)
	}
	return s
}
