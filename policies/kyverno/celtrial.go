package kyverno

import (
	"fmt"

	"gitgate.dev/gitgate/policies/kyverno/celpolicy"
)

// Answers is what t gives to policies in CEL.
func (t *Trial) Answers() *celpolicy.Answers {
	shared := newQueries()
	return &celpolicy.Answers{
		Global: func(name, projection string) (any, error) { return t.global(shared, name, projection) },
		Image:  t.image,
		HTTP:   t.http,
	}
}

func (t *Trial) image(reference string) (map[string]any, error) {
	for _, item := range t.Images {
		if m, _ := item.(map[string]any); m["image"] == reference {
			return m, nil
		}
	}
	return nil, fmt.Errorf("image data of %s is not given by the test", reference)
}

func (t *Trial) http(method, url string) (any, error) {
	answer, ok := t.Calls[method+":"+url]
	if !ok {
		answer, ok = t.Calls[url]
	}
	if !ok {
		return nil, fmt.Errorf("%s %s is not answered by the test", method, url)
	}
	status := answer.Status
	if status == 0 {
		status = 200
	}
	return map[string]any{"body": answer.Body, "statusCode": int64(status)}, nil
}
