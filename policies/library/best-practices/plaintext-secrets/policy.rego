# METADATA
# title: No Secret stands in Git in the clear
# description: >-
#   Who can read the repository, or any copy of it, has the Secret, for ever. Encrypted values (SOPS), references that are filled in later
#   (Flux's substitution, Argo CD Vault Plugin, Bank-Vaults, vals) and certificates count as none; SealedSecrets and ExternalSecrets are other
#   kinds. Asked of files alone: in the cluster a Secret has its values.
# custom:
#   name: best-practices/plaintext-secrets
#   severity: critical
#   controls: [CIS Kubernetes 1.10 5.4.2, NIST SP 800-53 r5 IA-5, NIST SP 800-53 r5 SC-28, "ISO/IEC 27001:2022 A.5.17", "ISO/IEC 27001:2022 A.8.24"]
#   match: {kinds: [v1/Secret]}
package library.best_practices.plaintext_secrets

deny contains {
	"msg": sprintf("secret %s has values in the clear under %s, expected them encrypted or kept elsewhere", [input.metadata.name, concat(", ", keys)]),
	"path": ["data", [k | some k in keys][0]],
	"fix": "encrypt the values with SOPS, or replace the Secret by a SealedSecret or an ExternalSecret; and change the values, which are known now",
} if {
	keys := {key | some field in ["data", "stringData"]; some key, value in input[field]; secret(key, text(field, value))}
	count(keys) > 0
}

# text is a value as the application gets it.
text("stringData", value) := value

text("data", value) := base64.decode(value) if base64.is_valid(value)

text("data", value) := value if not base64.is_valid(value)

secret(key, value) if {
	trim_space(value) != ""
	not encrypted(value)
	not filled_in_later(value)
	not public(key, value)
}

# The form is SOPS's own in full, so that nothing in the clear has it.
encrypted(value) if regex.match(`^ENC\[AES256_GCM,data:[A-Za-z0-9+/=]*,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:[a-z]+\]$`, value)

# What is nothing but a reference.
filled_in_later(value) if regex.match(`^\s*(\$\{[A-Za-z_][A-Za-z0-9_]*\}|<[^<>\n]+>|vault:[\w./#${}-]+|ref\+[a-z]+://\S+)\s*$`, value)

# Certificates are made to be shown.
public(_, value) if {
	startswith(trim_space(value), "-----BEGIN CERTIFICATE-----")
	not contains(value, "PRIVATE KEY")
}

# What Argo CD wants to know of a repository, and is no credential.
public(key, _) if {
	input.metadata.labels["argocd.argoproj.io/secret-type"] in {"repository", "repo-creds"}
	key in {"name", "url", "type", "project", "insecure", "enableLfs", "enableOCI", "proxy", "noProxy", "forceHttpBasicAuth", "githubAppID", "githubAppInstallationID", "githubAppEnterpriseBaseUrl", "insecureIgnoreHostKey", "depth"}
}
