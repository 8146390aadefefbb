package schema

import (
	"maps"
	"regexp"

	"gitgate.dev/gitgate/policies"
)

// encrypted is a value that SOPS has encrypted (github.com/getsops/sops, aes/cipher.go).
var encrypted = regexp.MustCompile(`^ENC\[AES256_GCM,data:[A-Za-z0-9+/=]*,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:[a-z]+\]$`)

type decryptedKey struct{}

// decrypted is o as far as a reconciler's decryption can be told without the key: without what SOPS put beside it, and with
// text in base64 where a Secret holds an encrypted value. An object that SOPS did not encrypt is itself.
func decrypted(o *policies.Object) *policies.Object {
	if o == nil || !isEncrypted(o) {
		return o
	}
	v, err := o.Derive(decryptedKey{}, func() (any, error) {
		content := maps.Clone(o.Map())
		delete(content, "sops")
		if data, ok := content["data"].(map[string]any); ok && o.Kind.GroupKind() == (policies.GroupKind{Kind: "Secret"}) {
			data = maps.Clone(data)
			for key, value := range data {
				if text, ok := value.(string); ok && encrypted.MatchString(text) {
					data[key] = "RU5D"
				}
			}
			content["data"] = data
		}
		return policies.NewObject(content, o.Origin, nil, nil), nil
	})
	if err != nil {
		return o
	}
	return v.(*policies.Object)
}

func isEncrypted(o *policies.Object) bool {
	for _, field := range []string{"mac", "version"} {
		v, _ := policies.Lookup(o.Map(), policies.Path{"sops", field})
		if text, ok := v.(string); !ok || text == "" {
			return false
		}
	}
	return true
}
