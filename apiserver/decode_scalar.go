package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gitgate.dev/gitgate/policies"
)

// integer reads a whole number of the given width. A float that a JSON encoder would write without fraction and exponent is
// one, because that is how clients send it.
func (d *decoder) integer(v any, bits int) (int64, bool) {
	var n int64
	switch t := v.(type) {
	case int64:
		n = t
	case float64:
		if t != math.Trunc(t) || math.Abs(t) >= 1<<63 {
			d.mistype("integer", v)
			return 0, false
		}
		n = int64(t)
	default:
		d.mistype("integer", v)
		return 0, false
	}
	if bits < 64 && (n >= 1<<(bits-1) || n < -1<<(bits-1)) {
		d.mistype(fmt.Sprintf("%d-bit integer", bits), v)
		return 0, false
	}
	return n, true
}

func (d *decoder) bytes(v any, dst reflect.Value) {
	s, ok := v.(string)
	if !ok {
		d.mistype("string of base64", v)
		return
	}
	made := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(made, []byte(s))
	if err != nil {
		if d.full() {
			return
		}
		// The value may be a secret that was not encoded: it is not shown.
		p := d.here()
		d.mistyped = append(d.mistyped, policies.Violation{
			Rule: ruleType, Path: p, Message: nameOf(p) + ": expected base64, got a string that is not",
			Fix: "encode the value with base64, or write it under stringData when this is a Secret",
		})
		return
	}
	dst.SetBytes(made[:n])
}

// special reads the types that have a JSON form of their own. The common ones are read without a detour over JSON text.
func (d *decoder) special(p *plan, v any, dst reflect.Value) {
	to := dst.Addr().Interface()
	switch to := to.(type) {
	case *resource.Quantity:
		d.quantity(v, to)
	case *intstr.IntOrString:
		if s, ok := v.(string); ok {
			*to = intstr.FromString(s)
			return
		}
		if _, isNumber := number(v); !isNumber {
			d.mistype("integer or string", v)
			return
		}
		if n, ok := d.integer(v, 32); ok {
			*to = intstr.FromInt32(int32(n))
		}
	case *metav1.Time:
		if t, ok := d.time(v, time.RFC3339); ok {
			to.Time = t.Local()
		}
	case *metav1.MicroTime:
		if t, ok := d.time(v, metav1.RFC3339Micro); ok {
			to.Time = t.Local()
		}
	case *metav1.Duration:
		s, ok := v.(string)
		if !ok {
			d.mistype("duration", v)
			return
		}
		parsed, err := time.ParseDuration(s)
		if err != nil {
			d.malformed("duration such as 1h30m", v, "")
			return
		}
		to.Duration = parsed
	case *runtime.RawExtension:
		if text, err := json.Marshal(v); err == nil {
			to.Raw = text
		} else {
			d.malformed("JSON", v, err.Error())
		}
	default:
		d.custom(v, to)
	}
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func (d *decoder) quantity(v any, to *resource.Quantity) {
	var text string
	switch t := v.(type) {
	case string:
		text = strings.TrimSpace(t)
	case int64:
		text = strconv.FormatInt(t, 10)
	case float64:
		b, err := json.Marshal(t)
		if err != nil {
			d.mistype("quantity", v)
			return
		}
		text = string(b)
	default:
		d.mistype("quantity", v)
		return
	}
	parsed, err := resource.ParseQuantity(text)
	if err != nil {
		d.malformed("quantity such as 500m, 2 or 1Gi", v, "")
		return
	}
	*to = parsed
}

func (d *decoder) time(v any, layout string) (time.Time, bool) {
	s, ok := v.(string)
	if !ok {
		d.mistype("date and time", v)
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		d.malformed("date and time such as "+exampleOf(layout), v, "")
		return time.Time{}, false
	}
	return t, true
}

func exampleOf(layout string) string {
	if layout == metav1.RFC3339Micro {
		return "2006-01-02T15:04:05.000000Z"
	}
	return "2006-01-02T15:04:05Z"
}

func (d *decoder) custom(v any, to any) {
	text, err := json.Marshal(v)
	if err != nil {
		d.malformed("JSON", v, err.Error())
		return
	}
	reader, ok := to.(jsonReader)
	if !ok {
		err = json.Unmarshal(text, to)
	} else {
		err = reader.UnmarshalJSON(text)
	}
	if err != nil {
		d.malformed("a valid value", v, err.Error())
	}
}
