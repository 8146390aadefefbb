package trust

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Keyring is the OpenPGP keys whose signatures count.
type Keyring struct{ keys openpgp.EntityList }

// ParseKeyring reads armored or binary OpenPGP public keys, one or several in each text.
func ParseKeyring(texts ...[]byte) (*Keyring, error) {
	k := &Keyring{}
	for i, text := range texts {
		read := openpgp.ReadKeyRing
		if bytes.Contains(text, []byte("-----BEGIN PGP ")) {
			read = openpgp.ReadArmoredKeyRing
		}
		keys, err := read(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("keyring %d: %w", i+1, err)
		}
		for _, key := range keys {
			if key.PrivateKey != nil {
				return nil, fmt.Errorf("keyring %d: key %X is a private key; expected public keys", i+1, key.PrimaryKey.Fingerprint)
			}
		}
		k.keys = append(k.keys, keys...)
	}
	if len(k.keys) == 0 {
		return nil, errors.New("keyring names no key")
	}
	return k, nil
}

// verify asks for the keys' validity at the commit's date or, when that is later, at the time of the signature: it is made after
// the date was taken, by as long as a passphrase needs to be typed. An old date of the signature does not revive an expired key.
func (k *Keyring) verify(payload []byte, signature string, at time.Time) Evidence {
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil {
		return Evidence{Reason: fmt.Sprintf("the OpenPGP signature cannot be read: %v", err)}
	}
	body, err := io.ReadAll(io.LimitReader(block.Body, 1<<20))
	if err != nil {
		return Evidence{Reason: fmt.Sprintf("the OpenPGP signature cannot be read: %v", err)}
	}
	first, err := packet.Read(bytes.NewReader(body))
	if err != nil {
		return Evidence{Reason: fmt.Sprintf("the OpenPGP signature cannot be read: %v", err)}
	}
	made, ok := first.(*packet.Signature)
	if !ok {
		return Evidence{Reason: "the OpenPGP signature cannot be read: it begins with something else"}
	}
	if made.CreationTime.After(at) {
		at = made.CreationTime
	}
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} // not SHA-1, which collides
	config := &packet.Config{Time: func() time.Time { return at }}
	sig, signer, err := openpgp.VerifyDetachedSignatureAndHash(k.keys, bytes.NewReader(payload), bytes.NewReader(body), hashes, config)
	var e Evidence
	if signer != nil {
		e.Key = hex.EncodeToString(signer.PrimaryKey.Fingerprint)
		e.Signer = userID(signer)
	}
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		e.Reason = "the OpenPGP key that signed is not in the keyring"
	case errors.Is(err, pgperrors.ErrKeyExpired):
		e.Reason = fmt.Sprintf("key %s had expired when the commit was made", e.Key)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		e.Reason = fmt.Sprintf("key %s is revoked", e.Key)
	case err != nil:
		e.Reason = fmt.Sprintf("the OpenPGP signature does not fit the commit: %v", err)
	case sig == nil || signer == nil:
		e.Reason = "the OpenPGP signature names no signer"
	default:
		e.State = Trusted
	}
	return e
}

// userID is the e-mail address of a key's primary identity, or its whole text when it has none.
func userID(key *openpgp.Entity) string {
	id := key.PrimaryIdentity()
	if id == nil {
		return hex.EncodeToString(key.PrimaryKey.Fingerprint)
	}
	if id.UserId != nil && id.UserId.Email != "" {
		return id.UserId.Email
	}
	return id.Name
}
