package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"crmintake/cmd/crmintake/internal/view"
)

// What dead show prints for programs as the payload is what dead edit --file takes.
func TestShownPayloadIsTakenByEdit(t *testing.T) {
	t.Parallel()
	deadLetters(t, map[string]string{"a": `{"prpoerties": {"a":"<1>", "n":1.10, "a":"é"}}`, "b": "no \xff",
		"c": `{"text": "x"}`, "d": `[1]`})
	shown := func(id string) string {
		var story struct {
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal([]byte(crmintake(t, "", "dead", "show", id, "--output", "json").out), &story); err != nil {
			t.Fatal(err)
		}
		return string(story.Payload)
	}
	crmintake(t, shown("a"), "dead", "edit", "a", "--file", "-").want(t, 0, "Nothing was changed.")
	edited := strings.Replace(shown("a"), "prpoerties", "properties", 1)
	edited = strings.Replace(edited, `"a": "<1>",`, "", 1)
	crmintake(t, edited, "dead", "edit", "a", "--file", "-").want(t, 0, "revision 1")
	crmintake(t, "", "dead", "show", "a").want(t, 0, "1.10", "é", "original", "the payload above")
	var v storyView
	crmintake(t, "", "dead", "show", "a", "--output", "json").json(t, &v)
	if v.Payload.Text != `{"properties":{"n":1.10,"a":"é"}}` || len(v.Revisions) != 2 {
		t.Errorf("%+v", v.Payload)
	}
	for id, want := range map[string]view.Bytes{"b": {Base64: "bm8g/w=="}, "c": {Text: `{"text": "x"}`},
		"d": {Text: `[1]`}} {
		var v storyView
		crmintake(t, "", "dead", "show", id, "--output", "json").json(t, &v)
		if v.Payload.Bytes != want {
			t.Errorf("%s: %+v", id, v.Payload)
		}
	}
}

// A long error stands once on the page, however many calls met it, and each time names its zone.
func TestShowTellsALongErrorOnce(t *testing.T) {
	t.Parallel()
	newFixture(t)
	name := strings.Repeat("nobody-knows-this-property-", 4)
	line := `{"properties":{"` + name + `":"x","event_id":"a"}}`
	crmintake(t, line, "publish", "--object-type", "contracts", "--id-field", "event_id", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	crmintake(t, "", "dead", "replay", "a", "--yes").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	var v storyView
	crmintake(t, "", "dead", "show", "a", "--output", "json").json(t, &v)
	if len(v.Attempts) != 2 || len(v.Attempts[0].Errors) == 0 || len(v.Error) < view.LongText {
		t.Fatalf("%+v", v)
	}
	shown := crmintake(t, "", "dead", "show", "a")
	shown.want(t, 0, "as above", v.UpdatedAt.Local().Format(time.DateTime+" MST"))
	if n := strings.Count(shown.out, v.Attempts[0].Errors[0].Message); n != 1 {
		t.Errorf("%d times:\n%s", n, shown.out)
	}
	crmintake(t, "", "outbox", "get", "a").want(t, 0, v.UpdatedAt.Local().Format(time.DateTime+" MST"))
}
