package helm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"gitgate.dev/gitgate/desired/kustomize"
	"gitgate.dev/gitgate/policies"
)

// maxSchemaErrors bounds the violations of values that are told.
const maxSchemaErrors = 20

// validate judges values by the values.schema.json of a chart and of those in it (helm.sh/helm/v4/pkg/chart/common/util,
// ValidateAgainstSchema). Helm would read files of the machine and fetch addresses that a schema refers to; here such a schema
// is opaque.
func (c *Chart) validate(ch *chart.Chart, values map[string]any) error {
	if ch.Schema != nil {
		if err := validateOne(values, ch.Schema); err != nil {
			return policies.ErrorAt(policies.Position{File: c.fileOf(ch.Schema)}, fmt.Errorf("values of chart %s: %w", ch.Name(), err))
		}
	}
	for _, d := range ch.Dependencies() {
		raw, ok := values[d.Name()]
		if !ok || raw == nil {
			continue
		}
		sub, ok := table(raw)
		if !ok {
			return policies.ErrorAt(policies.Position{File: c.path}, fmt.Errorf("values of chart %s: expected a map, got %T", d.Name(), raw))
		}
		if err := c.validate(d, sub); err != nil {
			return err
		}
	}
	return nil
}

type noLoader struct{}

var errRefers = errors.New("refers to another document")

func (noLoader) Load(url string) (any, error) { return nil, fmt.Errorf("%s: %w", url, errRefers) }

func validateOne(values map[string]any, schema []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schema cannot be used: %v", p)
		}
	}()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("schema is no JSON: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource("file:///values.schema.json", document); err != nil {
		return fmt.Errorf("schema cannot be read: %w", err)
	}
	compiled, err := compiler.Compile("file:///values.schema.json")
	if errors.Is(err, errRefers) || err != nil && strings.Contains(err.Error(), errRefers.Error()) {
		return &kustomize.OpaqueError{What: "schema of the values", Reason: err.Error()}
	}
	if err != nil {
		return fmt.Errorf("schema cannot be compiled: %w", err)
	}
	err = compiled.Validate(values)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var told []string
	var leaves func(e *jsonschema.ValidationError)
	leaves = func(e *jsonschema.ValidationError) {
		if len(told) >= maxSchemaErrors {
			return
		}
		if len(e.Causes) == 0 {
			where := strings.Join(e.InstanceLocation, ".")
			if where == "" {
				where = "(root)"
			}
			told = append(told, where+": "+broken(e.ErrorKind))
		}
		for _, cause := range e.Causes {
			leaves(cause)
		}
	}
	leaves(invalid)
	slices.Sort(told)
	return fmt.Errorf("they break the schema: %s", strings.Join(told, "; "))
}

// broken says how a value breaks the schema. The value is not told: it may be secret, and the library's own text has it.
func broken(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.AdditionalProperties:
		return "has " + strings.Join(k.Properties, ", ") + ", which the schema does not know"
	case *kind.Type:
		return "is of type " + k.Got + ", expected " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return fmt.Sprintf("expected one of %v", k.Want)
	case *kind.Pattern:
		return "does not match " + k.Want
	default:
		return "breaks " + strings.Join(k.KeywordPath(), "/")
	}
}
