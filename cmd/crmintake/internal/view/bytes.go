package view

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// eventJSON is an event's bytes in JSON: as they are where they are an object, which dead edit --file then takes; else
// as bytesJSON.
type Payload struct{ Bytes }

func PayloadOf(b []byte) *Payload {
	v := BytesOf(b)
	if v == nil {
		return nil
	}
	return &Payload{*v}
}

// isObject tells of an object, but for one that looks as bytesJSON does.
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
func (e Payload) MarshalJSON() ([]byte, error) {
	if isObject([]byte(e.Text)) {
		return []byte(e.Text), nil
	}
	return json.Marshal(e.Bytes)
}

// UnmarshalJSON implements json.Unmarshaler. White space between the members of an object is not kept.
func (e *Payload) UnmarshalJSON(b []byte) error {
	e.Bytes = Bytes{}
	if !isObject(b) {
		return json.Unmarshal(b, &e.Bytes)
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, b)
	e.Text = compact.String()
	return err
}

// bytesJSON is any bytes in JSON: as a string where they are text, else in base64.
type Bytes struct {
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

func BytesOf(b []byte) *Bytes {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return &Bytes{Text: string(b)}
	default:
		return &Bytes{Base64: base64.StdEncoding.EncodeToString(b)}
	}
}

func (b *Bytes) String() string {
	if b.Base64 != "" {
		return "base64:" + b.Base64
	}
	return b.Text
}
