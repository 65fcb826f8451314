package worker

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// agree decodes in both ways. What plain takes, the long way must take, too, and both must send the same.
func agree(payload []byte, idProperty, eventID string) (taken bool, err error) {
	short, long := new(decoder), new(decoder)
	short.reset(idProperty, eventID)
	if !short.plain(payload) {
		return false, nil
	}
	long.reset(idProperty, eventID)
	if err := long.event(payload); err != nil {
		return true, fmt.Errorf("taken, though %w", err)
	}
	// White space and the order of members are the event's own, which the long way tells nothing of.
	want, got := long.input(), short.input()
	if n := len(got.Body); got.Body[0] != '{' || got.Body[n-1] != '}' {
		return true, fmt.Errorf("the body %q has something around its braces", got.Body)
	}
	again := new(decoder)
	again.reset(idProperty, eventID)
	if err := again.event(got.Body); err != nil || again.traceID != "" {
		return true, fmt.Errorf("the body %s has the trace id %q; %w", got.Body, again.traceID, err)
	}
	if !properStrings(got.Body) {
		return true, fmt.Errorf("the body %s has properties that are no strings, or no associations", got.Body)
	}
	got.Body = again.input().Body
	if diff := cmp.Diff(want, got); diff != "" {
		return true, fmt.Errorf("another input: %s", diff)
	}
	return true, nil
}

// properStrings tells whether a body is what the API takes.
func properStrings(body []byte) bool {
	var b struct {
		Properties   map[string]*string
		Associations []any
	}
	if json.Unmarshal(body, &b) != nil || b.Associations == nil {
		return false
	}
	for _, v := range b.Properties {
		if v == nil {
			return false
		}
	}
	return true
}

var plainEvents = []string{
	usualEvent,
	`{"properties":{}}`,
	" \t\r\n{ \"properties\" : { \"a\" : \"b\" , \"id\" : 1.50 } } \n",
	`{"properties":{"a":"1","b":"","n":-1.5e+3,"t":true,"f":false,"z":null,"é":"Zoë \" \\ \/ \n"},"associations":[]}`,
	`{"objectWriteTraceId":"t1","associations":null,"properties":{"id":"c-7","ib":"x"}}`,
	`{"properties":{"id":""}}`, `{"properties":{"id":null,"a":"b"}}`, `{"properties":{"id":7}}`, `{"properties":{"id":true}}`,
	`{"associations":[{"to":{"id":"77"},"types":[{"associationCategory":"WORK","associationTypeId":1}]}],"properties":{"a":"1"}}`,
	`{"associations":[{"types":[{"associationTypeId":1,"associationCategory":"WORK"}],"to":{"id":77}}] , "properties":{"a":"1"}}`,
}

func TestPlainTakesTheUsual(t *testing.T) {
	for _, event := range plainEvents {
		for _, idProperty := range []string{"", "id"} {
			if taken, err := agree([]byte(event), idProperty, `ev"1`); !taken || err != nil {
				t.Errorf("%s: taken %v, %v", event, taken, err)
			}
		}
	}
}

// An event that may go out as it came is not copied; any other is.
func TestPlainCopiesNothingInVain(t *testing.T) {
	const association = `{"to":{"id":"7"},"types":[{"associationCategory":"WORK","associationTypeId":1}]}`
	for event, asIs := range map[string]bool{
		`{"properties":{"id":"7","b":"x"},"associations":[]}`:                                true,
		` { "associations" : [ ] , "properties" : { "b" : "\n" , "id" : "7" } } `:            true,
		`{"associations":[` + association + `,` + association + `],"properties":{"id":"7"}}`: true,
		`{"properties":{"id":"7"}}`:                                                                      false,
		`{"properties":{"b":"x"},"associations":[]}`:                                                     false,
		`{"properties":{"id":7},"associations":[]}`:                                                      false,
		`{"properties":{"id":"7","b":null},"associations":[]}`:                                           false,
		`{"properties":{"id":""},"associations":[]}`:                                                     false,
		`{"properties":{"id":"7"},"associations":null}`:                                                  false,
		`{"properties":{"id":"7"},"associations":[],"objectWriteTraceId":"t"}`:                           false,
		`{"properties":{"id":"7"},"associations":[ ` + association + `]}`:                                false,
		`{"properties":{"id":"7"},"associations":[` + strings.Replace(association, `"7"`, `7`, 1) + `]}`: false,
	} {
		payload := []byte(event)
		input, err := Decode(payload, "id", "ev")
		if err != nil {
			t.Errorf("%s: %v", event, err)
			continue
		}
		clear(payload)
		if shared := input.Body[0] == 0; shared != asIs {
			t.Errorf("%s: goes out as it is: %v, want %v", event, shared, asIs)
		}
	}
}

func TestPlainDeclines(t *testing.T) {
	for name, event := range map[string]string{
		"a doubled property":     `{"properties":{"a":"1","b":"1","a":"1"}}`,
		"a doubled member":       `{"properties":{},"properties":{}}`,
		"a doubled trace id":     `{"properties":{},"objectWriteTraceId":"a","objectWriteTraceId":"a"}`,
		"doubled associations":   `{"properties":{},"associations":[],"associations":[]}`,
		"an unknown member":      `{"properties":{},"x":1}`,
		"no properties":          `{"associations":[]}`,
		"an empty name":          `{"properties":{"":"x"}}`,
		"an object":              `{"properties":{"a":{}}}`,
		"an escape by number":    `{"properties":{"a":"\u0000"}}`,
		"an escaped id":          `{"properties":{"id":"\n"}}`,
		"an escaped trace id":    `{"properties":{},"objectWriteTraceId":"\n"}`,
		"a trace id of digits":   `{"properties":{},"objectWriteTraceId":1}`,
		"no UTF-8":               "{\"properties\":{\"a\":\"\xff\"}}",
		"what follows":           `{"properties":{}} 1`,
		"a long value":           `{"properties":{"a":"` + strings.Repeat("x", MaxPropertyChars+1) + `"}}`,
		"bad associations":       `{"associations":[{"to":{"id":"1"}}],"properties":{}}`,
		"associations of no end": `{"properties":{},"associations":[`,
	} {
		if taken, err := agree([]byte(event), "id", "ev"); taken {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// Events that were changed a little are what they are for the long way, too.
func TestPlainAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{`{`, `}`, `[`, `]`, `"`, `,`, `:`, `\`, ` `, "\n", `0`, `-`, `.`, `e`, `null`, `true`, `""`, `"a":"1",`, `"id":"x",`, `"id"`,
		`"properties":{`, `"associations":[],`, `"objectWriteTraceId":"t",`, `\u0000`, `\n`, "é", "\x00", "\x7f", "\xff"}
	taken := 0
	for range 30_000 {
		event := plainEvents[random.IntN(len(plainEvents))]
		for range 1 + random.IntN(2) {
			from := random.IntN(len(event) + 1)
			to := min(len(event), from+random.IntN(3))
			event = event[:from] + pieces[random.IntN(len(pieces))] + event[to:]
		}
		ok, err := agree([]byte(event), []string{"", "id"}[random.IntN(2)], "ev")
		if err != nil {
			t.Fatalf("%q: %v", event, err)
		}
		if ok {
			taken++
		}
	}
	if taken < 1000 {
		t.Errorf("only %d events were taken: the test says little", taken)
	}
}

func FuzzPlainAgrees(f *testing.F) {
	for _, event := range plainEvents {
		f.Add([]byte(event), "id", "ev")
	}
	f.Fuzz(func(t *testing.T, payload []byte, idProperty, eventID string) {
		if _, err := agree(payload, idProperty, eventID); err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
	})
}
