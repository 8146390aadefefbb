package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	strictError = regexp.MustCompile(`unknown field "((?:[^"\\]|\\.)*)"`)
	claimVolume = regexp.MustCompile(`spec\.template\.spec\.volumes\[\d+\]`)
	typeError   = regexp.MustCompile(`json: cannot unmarshal .+ into Go struct field [^. ]*\.(\S+) of type`)
)

// refusal reads an API server's Status.
func refusal(body []byte) (Answer, error) {
	var status struct {
		Kind, Reason, Message string
		Details               struct {
			Causes []struct{ Reason, Field, Message string }
		}
	}
	if err := json.Unmarshal(body, &status); err != nil || status.Kind != "Status" {
		// A path that nothing serves is answered in plain text.
		if strings.Contains(string(body), "404 page not found") {
			return Answer{Status: "NotFound"}, nil
		}
		return Answer{}, fmt.Errorf("answer of the API server is no Status: %s", body)
	}
	a := Answer{Status: status.Reason}
	for _, c := range status.Details.Causes {
		if strings.Contains(c.Message, "some validation rules were not checked") {
			continue // says that there may be more causes, and is none
		}
		a.Causes = append(a.Causes, strings.TrimSpace(c.Reason+" "+strings.TrimPrefix(c.Field, ".")))
	}
	if len(a.Causes) == 0 {
		for _, m := range strictError.FindAllStringSubmatch(status.Message, -1) {
			a.Causes = append(a.Causes, "UnknownField "+m[1])
		}
		if m := typeError.FindStringSubmatch(status.Message); m != nil {
			a.Causes = append(a.Causes, "Type "+m[1])
		}
	}
	if status.Reason == Crashed {
		return a, nil
	}
	if strings.HasPrefix(status.Message, "failed to create typed patch object") {
		a.Status = Unmerged
		return a, nil
	}
	if status.Reason == "" || status.Reason == "InternalError" {
		a.Status = "InternalError"
		a.Causes = []string{strings.ReplaceAll(status.Message, "\n", " ")}
	}
	for i, c := range a.Causes {
		// A StatefulSet's claims become volumes in an order that the API server draws.
		a.Causes[i] = claimVolume.ReplaceAllString(c, "spec.template.spec.volumes[*]")
	}
	slices.Sort(a.Causes)
	a.Causes = slices.Compact(a.Causes)
	return a, nil
}
