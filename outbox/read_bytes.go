package outbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// Bytes are bytes as they were received. In JSON they are {"text": …} where they are UTF-8, else {"base64": …}.
type Bytes []byte

// Payload is an event's bytes. In JSON it is itself where it is an object, and as Bytes otherwise, or where Bytes
// could be meant.
type Payload []byte

// Warnings is a JSON array, as text; "" for none. In JSON it is that array, or a string where the text is no JSON.
type Warnings string

type bytesJSON struct {
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

// String returns the text, or base64: and the bytes in base64.
func (b Bytes) String() string {
	if utf8.Valid(b) {
		return string(b)
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		return json.Marshal(bytesJSON{Text: string(b)})
	}
	return json.Marshal(bytesJSON{Base64: base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		*b = nil
		return nil
	}
	var v bytesJSON
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if *b = []byte(v.Text); v.Base64 != "" {
		*b, err = base64.StdEncoding.DecodeString(v.Base64)
	}
	return err
}

// String is Bytes'.
func (p Payload) String() string { return Bytes(p).String() }

// MarshalJSON implements json.Marshaler.
func (p Payload) MarshalJSON() ([]byte, error) {
	if isObject(p) {
		return p, nil
	}
	return Bytes(p).MarshalJSON()
}

// UnmarshalJSON implements json.Unmarshaler. White space between the members of an object is not kept.
func (p *Payload) UnmarshalJSON(text []byte) error {
	if !isObject(text) {
		return (*Bytes)(p).UnmarshalJSON(text)
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, text)
	*p = compact.Bytes()
	return err
}

// isObject is whether bytes are a JSON object, and none that looks as Bytes do.
func isObject(b []byte) bool {
	var members map[string]json.RawMessage
	if !utf8.Valid(b) || json.Unmarshal(b, &members) != nil || members == nil {
		return false
	}
	_, text := members["text"]
	_, base64 := members["base64"]
	return len(members) != 1 || !text && !base64
}

// MarshalJSON implements json.Marshaler.
func (w Warnings) MarshalJSON() ([]byte, error) {
	if json.Valid([]byte(w)) {
		return []byte(w), nil
	}
	return json.Marshal(string(w))
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *Warnings) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		*w = Warnings(s)
		return nil
	}
	*w = Warnings(text)
	return nil
}
