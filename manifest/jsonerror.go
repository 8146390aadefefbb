package manifest

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// jsonError says where and why text is not one JSON value; "" when it is.
func jsonError(text string) (at int, why string) {
	dec := json.NewDecoder(strings.NewReader(text))
	var value json.RawMessage
	err := dec.Decode(&value)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		if end := int(dec.InputOffset()); strings.TrimSpace(text[end:]) != "" {
			rest := text[end:]
			return end + len(rest) - len(strings.TrimLeft(rest, " \t\r\n")), "text follows the value"
		}
		return 0, ""
	case errors.As(err, &syntax):
		return min(max(int(syntax.Offset)-1, 0), len(text)), syntax.Error()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return len(strings.TrimRight(text, " \t\r\n")), "it ends inside a value"
	default:
		return 0, err.Error()
	}
}
