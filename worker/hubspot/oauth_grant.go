package hubspot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// grant is what the configuration says of one, and what follows from that.
type grant struct {
	client, secret, refresh string
	name                    string // in the Vault
	seals                   cipher.AEAD
}

// tokens are what a refresh gives.
type tokens struct {
	Access, Refresh string
	Life            time.Duration // of the access token, when it was made
}

// newGrant makes key and name. A client secret is random, so that neither gives it away.
func newGrant(client, secret, refresh string) (*grant, error) {
	const keyOf, nameOf = "crmintake: key of what is kept of an OAuth grant", "crmintake: name of an OAuth grant"
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(client), keyOf, 32)
	if err != nil {
		return nil, err
	}
	name, err := hkdf.Key(sha256.New, []byte(secret), []byte(refresh), nameOf, 16)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seals, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &grant{client: client, secret: secret, refresh: refresh, name: hex.EncodeToString(name), seals: seals}, nil
}

func (g *grant) seal(t tokens) ([]byte, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return g.seals.Seal(nil, nil, plain, []byte(g.name)), nil
}

// open reports false for what can't be opened, as if nothing were kept: the configured refresh token is a beginning.
func (g *grant) open(sealed []byte) (t tokens, ok bool) {
	if sealed == nil {
		return tokens{}, false
	}
	plain, err := g.seals.Open(nil, nil, sealed, []byte(g.name))
	if err != nil {
		return tokens{}, false
	}
	return t, json.Unmarshal(plain, &t) == nil && t.Access != ""
}

// redactor takes all that is secret of a grant out of what an answer says.
func (g *grant) redactor(more ...string) redactor {
	var all redactor
	for _, s := range append(more, g.secret, g.refresh) {
		all.forms = append(all.forms, newRedactor(s).forms...)
	}
	return all
}
