package bundle

import (
	"time"

	"gitgate.dev/gitgate/policies"
)

// APIVersion and KindName are what a gitgate.yaml calls itself.
const (
	APIVersion = "gitgate.dev/v1alpha1"
	KindName   = "Gate"
	FileName   = "gitgate.yaml"
)

// Versions lists the Kubernetes versions that `kubernetes:` may name, oldest first.
func Versions() []string { return []string{"1.34", "1.35", "1.36", "1.37"} }

// Config is gitgate.yaml. Field names in the file are those of the json tags; gitgate.schema.json says the same to editors.
// The zero Config, with no file, asks for the schema alone.
type Config struct {
	APIVersion  string         `json:"apiVersion"`
	Kind        string         `json:"kind"`
	Kubernetes  string         `json:"kubernetes"`  // one of Versions; "" for the binary's own
	Sources     []Source       `json:"sources"`     // what the reconcilers apply
	Reconcilers []Reconciler   `json:"reconcilers"` // who applies it
	Writers     []Writer       `json:"writers"`     // who else may write what
	Policies    []PolicySource `json:"policies"`
	Schemas     []Schema       `json:"schemas"`
	Images      []Image        `json:"images"`
	Trace       *Trace         `json:"trace"`
	Modes       []Mode         `json:"modes"`
	BreakGlass  BreakGlass     `json:"breakGlass"`
	Exempt      []Exempt       `json:"exempt"`
	Rego        Rego           `json:"rego"`
	CEL         CEL            `json:"cel"`
	Limits      Limits         `json:"limits"`

	File   string           `json:"-"` // as Options.File names it; "" when there is none
	object *policies.Object // the text, for positions; nil when there is none
}

// Position is where the field at the given steps of the file stands, or its deepest ancestor that is written.
func (c *Config) Position(steps ...any) policies.Position {
	if c.object == nil {
		return policies.Position{File: c.File}
	}
	return c.object.Locate(steps, policies.AtValue)
}

// Source is a folder of a Git repository that reconcilers apply.
type Source struct {
	Name   string `json:"name" gate:"required"`
	URL    string `json:"url"` // "" for the repository that holds gitgate.yaml
	Branch string `json:"branch"`
	Path   string `json:"path"` // slash-separated, from the repository's root; "" for the root itself
	// Referenced says that the source declares nothing by itself: only what units of other sources take from it.
	Referenced bool   `json:"referenced"`
	Trust      *Trust `json:"trust"`
}

// Trust says which commits of a source count: those with a signature that one of SSH, OpenPGP and X509 knows.
type Trust struct {
	SSH       *SSHTrust     `json:"ssh"`
	OpenPGP   *OpenPGPTrust `json:"openpgp"`
	X509      *X509Trust    `json:"x509"`
	Platforms []Platform    `json:"platforms"`
	Paths     []TrustPath   `json:"paths"`
}

// SSHTrust trusts commits signed by the keys of a file as ssh-keygen(1) describes it under ALLOWED SIGNERS.
type SSHTrust struct {
	AllowedSigners string `json:"allowedSigners" gate:"required"` // path of the file
	Revoked        string `json:"revoked"`                        // path of a file of public keys, one a line, that count no longer
}

// OpenPGPTrust trusts commits signed by the public keys of files, armored or binary.
type OpenPGPTrust struct {
	Keys []string `json:"keys" gate:"required"` // paths
}

// X509Trust trusts commits signed with a certificate of an authority, as gitsign makes them.
type X509Trust struct {
	Roots      string     `json:"roots" gate:"required"` // path of a file of PEM certificates
	Identities []Identity `json:"identities" gate:"required"`
}

// Identity is whom a certificate has to be for: exactly one of Subject and SubjectPattern is set.
type Identity struct {
	Issuer         string `json:"issuer"`         // the OIDC issuer that the certificate names; "" for a certificate that names none
	Subject        string `json:"subject"`        // e-mail address or URI, compared in full
	SubjectPattern string `json:"subjectPattern"` // regular expression that has to match all of it
}

// Platform is the key of a Git host that signs merges on behalf of people.
type Platform struct {
	Key    string `json:"key" gate:"required"` // fingerprint: SHA256:… of an SSH key, hexadecimal of an OpenPGP one
	Squash bool   `json:"squash"`              // it counts for commits with one parent too
}

// TrustPath says who may change the files that a pattern matches.
type TrustPath struct {
	Pattern string   `json:"pattern" gate:"required"` // * and ? inside a segment, ** for any number of segments
	Signers []string `json:"signers" gate:"required"` // as `gitgate verify` names them, compared in full
}

// Reconciler is a program that applies what Git declares. Exactly one field is set.
type Reconciler struct {
	Flux   *Flux   `json:"flux"`
	ArgoCD *ArgoCD `json:"argocd"`
}

// Flux says where Flux's controllers run, and how they were told to.
type Flux struct {
	Namespace string `json:"namespace" gate:"required"`
	// DefaultServiceAccount is --default-service-account of kustomize-controller and helm-controller: the service account, in the
	// namespace of each Kustomization and HelmRelease that names none, that its objects are written by. Empty for the controller's own.
	DefaultServiceAccount string `json:"defaultServiceAccount"`
}

// ArgoCD says where Argo CD runs.
type ArgoCD struct {
	Namespace string `json:"namespace" gate:"required"`
}

// Writer is an identity that may write what Git does not declare.
type Writer struct {
	Name   string   `json:"name" gate:"required"`
	Users  []string `json:"users"`  // patterns; at least one of Users and Groups is given
	Groups []string `json:"groups"` // the same for one of the user's groups
	Writes []Write  `json:"writes" gate:"required"`
}

// Write is what a writer may write. An empty list means all.
type Write struct {
	Kinds        []string `json:"kinds" gate:"required"`
	Namespaces   []string `json:"namespaces"`
	Names        []string `json:"names"`
	Fields       []string `json:"fields"`       // paths, with what is below them; empty for the object as a whole
	Subresources []string `json:"subresources"` // empty for the object alone
}

// PolicySource is where policies are read from: exactly one of Path and Library.
type PolicySource struct {
	Path    string           `json:"path"`    // a file or a folder, from the folder of gitgate.yaml
	Library string           `json:"library"` // a policy that ships with gitgate, or a family of them
	Version string           `json:"version"` // of Kubernetes, whose Pod Security Standards are meant; "" for that of the cluster
	Action  *policies.Action `json:"action"`  // nil keeps what each policy says of itself
}

// Schema is a source of schemas: either Path, documents with CustomResourceDefinitions, or JSONSchema for objects of Kind.
type Schema struct {
	Path       string   `json:"path"`
	Kind       string   `json:"kind"`  // "ConfigMap" or "Deployment.apps"
	Names      []string `json:"names"` // patterns of path.Match; empty for every name
	JSONSchema string   `json:"jsonSchema"`
	Key        string   `json:"key"` // judge the data under this key of a ConfigMap or Secret, not the object
}

// Image is a rule for images whose name matches.
type Image struct {
	Match      []string    `json:"match" gate:"required"`
	Signed     *Signed     `json:"signed"`
	Provenance *Provenance `json:"provenance"`
}

// Signed asks for a signature by one of Keys, files of public keys.
type Signed struct {
	Keys []string `json:"keys" gate:"required"`
}

// Provenance asks for a build by one of Builders from one of Sources and Branches.
type Provenance struct {
	Builders []string `json:"builders"`
	Sources  []string `json:"sources"`
	Branches []string `json:"branches"`
}

// Trace asks that every change is declared by a commit.
type Trace struct {
	Action *policies.Action `json:"action"`
}

// Mode gives policies another action in some namespaces or on some kinds. An empty list matches everything.
type Mode struct {
	Policies   []string        `json:"policies" gate:"required"` // names, or patterns of path.Match
	Namespaces []string        `json:"namespaces"`
	Kinds      []string        `json:"kinds"`
	Action     policies.Action `json:"action" gate:"required"`
}

// BreakGlass is what grants may ask for: see `gitgate breakglass`.
type BreakGlass struct {
	Maximum   string `json:"maximum"`   // the longest time of a grant, as time.ParseDuration reads it, at most 8h; "" for 1h
	Approvals int    `json:"approvals"` // how many other people have to agree
}

// Exempt takes objects out of policies, for a reason and until a day. An empty list matches everything.
type Exempt struct {
	Policies   []string  `json:"policies" gate:"required"` // "name", "name/rule" or a pattern of path.Match
	Namespaces []string  `json:"namespaces"`
	Kinds      []string  `json:"kinds"`
	Names      []string  `json:"names"`
	Reason     string    `json:"reason" gate:"required"`
	Until      time.Time `json:"until"` // the last day on which it holds, as midnight UTC of that day; zero for ever
}

// Rego is what the policies written in Rego may do.
type Rego struct {
	AllowBuiltins []string `json:"allowBuiltins"` // builtins that reach outside (http.send), refused unless named here
	Namespaces    []string `json:"namespaces"`    // packages whose rules are asked; empty for all
}

// CEL is how ValidatingAdmissionPolicies are read.
type CEL struct {
	ImplicitBinding bool `json:"implicitBinding"` // a policy that no binding binds holds everywhere, and denies; without it, it is an error
}

// Limits bounds what one input may cost. Zero means the default.
type Limits struct {
	DocumentSize int `json:"documentSize"` // bytes of one document
	Depth        int `json:"depth"`        // nested maps and lists
}
