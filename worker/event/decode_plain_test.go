package event

import (
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
	// White space and the order of members are the event's own: the long way brings both to one form.
	want, got := long.input(), short.input()
	out := sent(got)
	if out[len(out)-1] != '}' {
		return true, fmt.Errorf("%q has something behind its brace", out)
	}
	again := new(decoder)
	again.reset(idProperty, eventID)
	if err := again.event(out); err != nil || again.traceID != "" {
		return true, fmt.Errorf("%s has the trace id %q; %w", out, again.traceID, err)
	}
	if err := sameSent(want, got); err != nil {
		return true, fmt.Errorf("another input: %w", err)
	}
	if diff := cmp.Diff(len(want.Body), len(again.input().Body)); diff != "" { // the texts differ in order only
		return true, fmt.Errorf("%s is not %s", out, want.Body)
	}
	return true, nil
}

var plainEvents = []string{
	usualEvent,
	`{"properties":{}}`,
	" \t\r\n{ \"properties\" : { \"a\" : \"b\" , \"id\" : 1.50 } } \n",
	`{"properties":{"a":"1","b":"","n":-1.5e+3,"t":true,"f":false,"z":null,"é":"Zoë \" \\ \/ \n"},"associations":[]}`,
	`{"objectWriteTraceId":"t1","associations":null,"properties":{"id":"c-7","ib":"x"}}`,
	`{"properties":{"id":""}}`, `{"properties":{"id":null,"a":"b"}}`, `{"properties":{"id":7}}`,
	`{"properties":{"id":true}}`,
	`{"associations":[{"to":{"id":"77"},"types":[{"associationCategory":"WORK","associationTypeId":1}]}],` +
		`"properties":{"a":"1"}}`,
	`{"associations":[{"types":[{"associationTypeId":1,"associationCategory":"WORK"}],"to":{"id":77}}] , ` +
		`"properties":{"a":"1"}}`,
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

// An event that may go out as it came, or nearly so, is not copied.
func TestPlainCopiesNothingInVain(t *testing.T) {
	const association = `{"to":{"id":"7"},"types":[{"associationCategory":"WORK","associationTypeId":1}]}`
	const same = "the same, without the white space around it"
	for event, want := range map[string]string{
		`{"properties":{"id":"7","b":"x"},"associations":[]}`:                     same,
		` { "associations" : [ ] , "properties" : { "b" : "\n" , "id" : "7" } } `: same,
		`{"associations":[` + association + `],"properties":{"id":"7"}}`:          same,

		`{"properties":{"id":"7"}}`:                  `{"associations":[],"properties":{"id":"7"}}`,
		`{"properties":{"b":"x"},"associations":[]}`: `{"properties":{"id":"ev\"1","b":"x"},"associations":[]}`,
		`{"properties":{"b":"x"}}`:                   `{"associations":[],"properties":{"id":"ev\"1","b":"x"}}`,
		`{"associations":[],"properties": { } }`:     `{"associations":[],"properties": {"id":"ev\"1" } }`,

		// These are copied.
		`{"properties":{"id":7},"associations":[]}`:                                                      "",
		`{"properties":{"id":"7","b":null},"associations":[]}`:                                           "",
		`{"properties":{"id":""},"associations":[]}`:                                                     "",
		`{"properties":{"id":"7"},"associations":null}`:                                                  "",
		`{"properties":{"id":"7"},"associations":[],"objectWriteTraceId":"t"}`:                           "",
		`{"properties":{"id":"7"},"associations":[ ` + association + `]}`:                                "",
		`{"properties":{"id":"7"},"associations":[` + strings.Replace(association, `"7"`, `7`, 1) + `]}`: "",
	} {
		if want == same {
			want = strings.TrimSpace(event)
		}
		payload := []byte(event)
		input, err := Decode(payload, "id", `ev"1`)
		if err != nil {
			t.Errorf("%s: %v", event, err)
			continue
		}
		if out := string(sent(input)); want != "" && out != want {
			t.Errorf("%s goes out as %s, want %s", event, out, want)
		}
		clear(payload)
		if shared := input.Body[0] == 0; shared != (want != "") {
			t.Errorf("%s: not copied: %v", event, shared)
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
	pieces := []string{`{`, `}`, `[`, `]`, `"`, `,`, `:`, `\`, ` `, "\n", `0`, `-`, `.`, `e`, `null`, `true`, `""`,
		`"a":"1",`, `"id":"x",`, `"id"`,
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
		// Decode's caller sees to it that neither has a NUL.
		idProperty, eventID = strings.ReplaceAll(idProperty, "\x00", ""), strings.ReplaceAll(eventID, "\x00", "")
		if _, err := agree(payload, idProperty, eventID); err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
	})
}
