package document

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
)

// HCL, as Terraform has it, becomes what conftest's parser hcl2 makes of it, so that its policies can be used: a block is a list below its
// type and labels (resource.aws_s3_bucket.logs[0].acl), what is written out is a value, and any other expression its text as "${…}".

const maxHCL = 1 << 20 // bytes of a text: the parser recurses for its operators

func parseHCL(file string, text []byte, lim manifest.Limits) ([]*policies.Object, []manifest.Problem) {
	if p := tooLarge(file, text, lim); p != nil {
		return nil, p
	}
	if len(text) > maxHCL {
		return nil, []manifest.Problem{problem(manifest.RuleTooLarge, file, nil, 0, 0, "document is larger than %d MiB, expected less", maxHCL>>20)}
	}
	if p := tooDeepHCL(file, text, depthOf(lim)); p != nil {
		return nil, []manifest.Problem{*p}
	}
	parsed, diags := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, hclProblems(file, text, diags)
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return nil, []manifest.Problem{problem(manifest.RuleSyntax, file, nil, 0, 0, "text is no HCL")}
	}
	c := &hclConverter{file: file, text: text, lines: lineStarts(text), left: fieldsOf(lim)}
	root := &node{at: position(file, text, 1, 1, 0)}
	value, err := c.body(body, root)
	if err != nil {
		var at *hclError
		if errors.As(err, &at) {
			return nil, []manifest.Problem{problem(at.rule, file, text, at.where.Start.Line, c.column(at.where.Start), "%s", at.message)}
		}
		return nil, []manifest.Problem{problem(manifest.RuleSyntax, file, nil, 0, 0, "%v", err)}
	}
	return []*policies.Object{policies.NewDocument(value, policies.Origin{File: file, Line: 1, Column: 1}, root)}, nil
}

func fieldsOf(lim manifest.Limits) int {
	if lim.Fields > 0 {
		return lim.Fields
	}
	return manifest.DefaultLimits().Fields
}

const maxProblems = 100

func hclProblems(file string, text []byte, diags hcl.Diagnostics) []manifest.Problem {
	var out []manifest.Problem
	starts := lineStarts(text)
	for _, d := range diags {
		if d.Severity != hcl.DiagError || len(out) == maxProblems {
			continue
		}
		line, column := 0, 0
		if at := d.Subject; at != nil && at.Start.Line <= len(starts) && at.Start.Line > 0 {
			line, column = at.Start.Line, at.Start.Byte-starts[at.Start.Line-1]+1
		}
		out = append(out, problem(manifest.RuleSyntax, file, text, line, column, "text is no HCL: %s: %s", d.Summary, d.Detail))
	}
	return out
}

// How deep the parser of HCL may be led into itself: it does not bound that, and a stack that is used up ends the process.
const (
	maxPrefixes   = 100    // signs before one operand
	maxRecursions = 10_000 // conditionals, splats and directives of a text
)

// tooDeepHCL counts what the parser recurses for in the tokens of a text, which are found without recursion.
func tooDeepHCL(file string, text []byte, most int) *manifest.Problem {
	tokens, _ := hclsyntax.LexConfig(text, file, hcl.InitialPos)
	depth, prefixes, recursions := 0, 0, 0
	var before hclsyntax.TokenType
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc,
			hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		}
		splat := t.Type == hclsyntax.TokenStar && (before == hclsyntax.TokenOBrack || before == hclsyntax.TokenDot)
		if splat || t.Type == hclsyntax.TokenQuestion || t.Type == hclsyntax.TokenTemplateControl {
			recursions++
		}
		before = t.Type
		if t.Type == hclsyntax.TokenBang || t.Type == hclsyntax.TokenMinus {
			prefixes++
		} else {
			prefixes = 0
		}
		if depth > most || prefixes > maxPrefixes || recursions > maxRecursions {
			p := problem(manifest.RuleTooDeep, file, text, t.Range.Start.Line, t.Range.Start.Column, "document has more than %d levels, expected less", most)
			return &p
		}
	}
	return nil
}

type hclConverter struct {
	file  string
	text  []byte
	lines []int // offsets at which lines begin
	left  int   // fields and items that may still be made
}

type hclError struct {
	rule, message string
	where         hcl.Range
}

func (e *hclError) Error() string { return e.message }

func (c *hclConverter) spend(where hcl.Range) error {
	if c.left--; c.left < 0 {
		return &hclError{manifest.RuleTooLarge, "document has too many fields, expected less", where}
	}
	return nil
}

func lineStarts(text []byte) []int {
	out := []int{0}
	for i, b := range text {
		if b == '\n' {
			out = append(out, i+1)
		}
	}
	return out
}

// column is in bytes: HCL counts characters.
func (c *hclConverter) column(p hcl.Pos) int {
	if p.Line < 1 || p.Line > len(c.lines) {
		return p.Column
	}
	return p.Byte - c.lines[p.Line-1] + 1
}

// place is where r begins, with its end when that is on the same line.
func (c *hclConverter) place(r hcl.Range) policies.Position {
	column, end := c.column(r.Start), 0
	if r.End.Line == r.Start.Line {
		end = c.column(r.End)
	}
	pos := policies.Position{File: c.file, Line: r.Start.Line, Column: column, EndColumn: end}
	if r.Start.Line < 1 || r.Start.Line > len(c.lines) {
		return pos
	}
	from, to := c.lines[r.Start.Line-1], len(c.text)
	if r.Start.Line < len(c.lines) {
		to = c.lines[r.Start.Line] - 1
	}
	if to > from && c.text[to-1] == '\r' {
		to--
	}
	if to-from <= maxLine {
		pos.Text = string(c.text[from:to])
	}
	return pos
}

// placeOf is that of a value; of a map or a list it is that of its name.
func (c *hclConverter) placeOf(e hclsyntax.Expression, key policies.Position) policies.Position {
	switch e.(type) {
	case *hclsyntax.TupleConsExpr, *hclsyntax.ObjectConsExpr:
		return key
	}
	return c.place(e.Range())
}

func (c *hclConverter) body(body *hclsyntax.Body, at *node) (map[string]any, error) {
	out := map[string]any{}
	for _, block := range body.Blocks {
		if err := c.block(block, out, at); err != nil {
			return nil, err
		}
	}
	for name, attribute := range body.Attributes {
		if err := c.spend(attribute.SrcRange); err != nil {
			return nil, err
		}
		child := at.field(name)
		child.key = c.place(attribute.NameRange)
		child.at = c.placeOf(attribute.Expr, child.key)
		v, err := c.expression(attribute.Expr, child)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func (c *hclConverter) block(block *hclsyntax.Block, in map[string]any, at *node) error {
	ranges := append([]hcl.Range{block.TypeRange}, block.LabelRanges...)
	steps := append([]string{block.Type}, block.Labels...)
	for i, step := range steps {
		if err := c.spend(ranges[i]); err != nil {
			return err
		}
		_, known := in[step]
		if at = at.field(step); !known {
			at.at = c.place(ranges[i])
		}
		if i == len(steps)-1 {
			break
		}
		if !known {
			in[step] = map[string]any{}
		}
		below, ok := in[step].(map[string]any)
		if !ok {
			return c.mixed(block)
		}
		in = below
	}
	last := steps[len(steps)-1]
	item := &node{at: c.place(block.TypeRange)}
	value, err := c.body(block.Body, item)
	if err != nil {
		return err
	}
	list, ok := in[last].([]any)
	if _, known := in[last]; known && !ok {
		return c.mixed(block)
	}
	in[last], at.items = append(list, value), append(at.items, item)
	return nil
}

func (c *hclConverter) mixed(block *hclsyntax.Block) error {
	return &hclError{manifest.RuleSyntax, fmt.Sprintf("block %s has other labels than those of the same name before it, expected as many", block.Type), block.TypeRange}
}

func (c *hclConverter) expression(e hclsyntax.Expression, at *node) (any, error) {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return c.literal(e.Val, e)
	case *hclsyntax.UnaryOpExpr:
		if _, ok := e.Val.(*hclsyntax.LiteralValueExpr); ok {
			if v, diags := e.Value(nil); !diags.HasErrors() {
				return c.literal(v, e)
			}
		}
	case *hclsyntax.TemplateExpr:
		return c.template(e), nil
	case *hclsyntax.TemplateWrapExpr:
		return c.expression(e.Wrapped, at)
	case *hclsyntax.ParenthesesExpr:
		if _, ok := e.Expression.(*hclsyntax.LiteralValueExpr); ok {
			return c.expression(e.Expression, at)
		}
	case *hclsyntax.TupleConsExpr:
		out := make([]any, 0, len(e.Exprs))
		for _, x := range e.Exprs {
			if err := c.spend(x.Range()); err != nil {
				return nil, err
			}
			item := &node{at: c.place(x.Range())}
			at.items = append(at.items, item)
			v, err := c.expression(x, item)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case *hclsyntax.ObjectConsExpr:
		out := map[string]any{}
		for _, item := range e.Items {
			if err := c.spend(item.KeyExpr.Range()); err != nil {
				return nil, err
			}
			key := c.key(item.KeyExpr)
			child := at.field(key)
			child.key = c.place(item.KeyExpr.Range())
			child.at = c.placeOf(item.ValueExpr, child.key)
			v, err := c.expression(item.ValueExpr, child)
			if err != nil {
				return nil, err
			}
			out[key] = v
		}
		return out, nil
	case *hclsyntax.ScopeTraversalExpr:
		if slices.Contains(typeWords, e.Traversal.RootName()) {
			return c.source(e.Range()), nil
		}
	case *hclsyntax.FunctionCallExpr:
		if slices.Contains(typeWords, e.Name) {
			return c.source(e.Range()), nil
		}
	}
	return "${" + c.source(e.Range()) + "}", nil
}

// typeWords begin what is a type and no value: type = list(string).
var typeWords = []string{"string", "number", "bool", "any", "list", "set", "map", "object", "tuple"}

func (c *hclConverter) source(r hcl.Range) string { return string(r.SliceBytes(c.text)) }

func (c *hclConverter) literal(v cty.Value, e hclsyntax.Expression) (any, error) {
	switch {
	case v.IsNull():
		return nil, nil
	case !v.IsKnown():
	case v.Type() == cty.String:
		return v.AsString(), nil
	case v.Type() == cty.Bool:
		return v.True(), nil
	case v.Type() == cty.Number:
		if n, ok := number(v.AsBigFloat()); ok {
			return n, nil
		}
	}
	return nil, &hclError{manifest.RuleSyntax, "value has no form in JSON", e.Range()}
}

func number(f *big.Float) (n any, ok bool) {
	if i, accuracy := f.Int64(); accuracy == big.Exact {
		return i, true
	}
	v, _ := f.Float64()
	return v, !math.IsInf(v, 0)
}

func (c *hclConverter) key(e hclsyntax.Expression) string {
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok && !k.ForceNonLiteral {
		if word := hcl.ExprAsKeyword(k.Wrapped); word != "" {
			return word
		}
		e = k.Wrapped
	}
	switch e := e.(type) {
	case *hclsyntax.TemplateExpr:
		return c.template(e)
	case *hclsyntax.LiteralValueExpr:
		return c.source(e.Range())
	}
	return "${" + c.source(e.Range()) + "}"
}

// template is a text with its expressions as they are written.
func (c *hclConverter) template(t *hclsyntax.TemplateExpr) string {
	if t.IsStringLiteral() {
		if v, diags := t.Value(nil); !diags.HasErrors() {
			return v.AsString()
		}
	}
	var out strings.Builder
	for _, part := range t.Parts {
		switch part := part.(type) {
		case *hclsyntax.LiteralValueExpr:
			if part.Val.Type() == cty.String && part.Val.IsKnown() && !part.Val.IsNull() {
				out.WriteString(part.Val.AsString())
				continue
			}
			out.WriteString("${" + c.source(part.Range()) + "}")
		case *hclsyntax.ConditionalExpr, *hclsyntax.TemplateJoinExpr:
			// A directive is kept with its text: what it makes is known to Terraform alone.
			out.WriteString("%{" + c.source(part.Range()) + "}")
		default:
			out.WriteString("${" + c.source(part.Range()) + "}")
		}
	}
	return out.String()
}
