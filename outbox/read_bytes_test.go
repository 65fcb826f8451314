package outbox

import (
	"encoding/json"
	"testing"
)

// What a person reads in JSON is what was received, and is read back as it was.
func TestBytesInJSON(t *testing.T) {
	t.Parallel()
	type row struct {
		Payload  Payload  `json:"p,omitzero"`
		Raw      Bytes    `json:"r,omitzero"`
		Warnings Warnings `json:"w,omitempty"`
	}
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{}, `{}`},
		{row{Payload: Payload(`{"a":1.10}`), Raw: Bytes(`{"a":1.10}`)}, `{"p":{"a":1.10},"r":{"text":"{\"a\":1.10}"}}`},
		{row{Payload: Payload(`{"text":"x"}`)}, `{"p":{"text":"{\"text\":\"x\"}"}}`},
		{row{Payload: Payload(`{"text":"x","a":1}`)}, `{"p":{"text":"x","a":1}}`},
		{row{Payload: Payload(`[1]`), Raw: Bytes("\xff")}, `{"p":{"text":"[1]"},"r":{"base64":"/w=="}}`},
		{row{Payload: Payload("no \xff")}, `{"p":{"base64":"bm8g/w=="}}`},
		{row{Payload: Payload{}, Raw: Bytes{}}, `{"p":{},"r":{}}`},
		{row{Warnings: `["a",{"b":1}]`}, `{"w":["a",{"b":1}]}`},
		{row{Warnings: `no "JSON"`}, `{"w":"no \"JSON\""}`},
	} {
		got, err := json.Marshal(c.row)
		ok(t, err)
		if string(got) != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		var back row
		ok(t, json.Unmarshal(got, &back))
		if again, err := json.Marshal(back); err != nil || string(again) != c.want {
			t.Errorf("read back it is %s, %v; want %s", again, err, c.want)
		}
	}
}
