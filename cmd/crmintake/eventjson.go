package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// eventJSON is an event's bytes in JSON: as they are where they are an object, which dead edit --file then takes; else
// as bytesJSON.
type eventJSON struct{ bytesJSON }

func eventView(b []byte) *eventJSON {
	v := bytesView(b)
	if v == nil {
		return nil
	}
	return &eventJSON{*v}
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
func (e eventJSON) MarshalJSON() ([]byte, error) {
	if isObject([]byte(e.Text)) {
		return []byte(e.Text), nil
	}
	return json.Marshal(e.bytesJSON)
}

// UnmarshalJSON implements json.Unmarshaler. White space between the members of an object is not kept.
func (e *eventJSON) UnmarshalJSON(b []byte) error {
	e.bytesJSON = bytesJSON{}
	if !isObject(b) {
		return json.Unmarshal(b, &e.bytesJSON)
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, b)
	e.Text = compact.String()
	return err
}

// bytesJSON is any bytes in JSON: as a string where they are text, else in base64.
type bytesJSON struct {
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

func bytesView(b []byte) *bytesJSON {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return &bytesJSON{Text: string(b)}
	default:
		return &bytesJSON{Base64: base64.StdEncoding.EncodeToString(b)}
	}
}

func (b *bytesJSON) String() string {
	if b.Base64 != "" {
		return "base64:" + b.Base64
	}
	return b.Text
}
