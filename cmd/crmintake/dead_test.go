package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/outbox/outboxtest"
)

// deadLetters makes an outbox, to which the environment points, with these dead events; their payloads by id.
func deadLetters(t testing.TB, payloads map[string]string) {
	t.Helper()
	url := outboxtest.New(t)
	setenv(t, "CRMINTAKE_DATABASE_URL", url)
	store, err := outbox.Open(t.Context(), url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var list []outbox.DeadLetter
	for id, payload := range payloads {
		list = append(list, outbox.DeadLetter{Event: outbox.Event{ID: id, ObjectType: "contracts",
			Payload: []byte(payload), Stream: "S", StreamSeq: 1},
			Reason: outbox.InvalidEvent, Error: "properties." + id[:1] + ": wrong"})
	}
	if _, err := store.Batches.InsertDead(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// terminal is a person's terminal, at which this is typed.
type terminal struct{ io.Reader }

func (terminal) IsTerminal() bool { return true }

func at(typed string) terminal { return terminal{strings.NewReader(typed)} }

func page(t testing.TB) (p operator.Page) {
	t.Helper()
	crmintake(t, "", "dead", "list", "--output", "json").json(t, &p)
	return p
}

// From the misspelled property to the mended events, with what the CRM said in between.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm := account(t)
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	setenv(t, "CRMINTAKE_HUBSPOT_URL", crm.URL)
	setenv(t, "CRMINTAKE_HUBSPOT_TOKEN", secret)
	setenv(t, "CRMINTAKE_BATCH_WAIT", "50ms")
	crmintake(t, "", "init").want(t, 0)
	var in strings.Builder
	for i := range 20 {
		fmt.Fprintf(&in, `{"properties":{"nmae":"lease %d"}}`+"\n", i)
	}
	crmintake(t, in.String(), "publish", "--object-type", "contracts", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)

	crmintake(t, "", "dead", "groups").want(t, 0, "20 dead events in 1 group", "PROPERTY_DOESNT_EXIST", "nmae", "rename")
	var groups operator.Groups
	crmintake(t, "", "dead", "groups", "--output", "json").json(t, &groups)
	g := groups.List[0]
	if g.Events != 20 || g.Property != "nmae" || g.Rule != "PROPERTY_DOESNT_EXIST" || g.ObjectType != "contracts" ||
		g.Reason != "rejected" {
		t.Errorf("%+v", g)
	}
	crmintake(t, "", "dead", "list", "--group", g.Fingerprint, "--limit", "3").want(t, 0, idAt(t, 20),
		"There are more; add --from ")
	crmintake(t, "", "dead", "show", idAt(t, 7)).want(t, 0, "dead (rejected)", g.Fingerprint, "attempt 1",
		"correlation id", "nmae", "lease 6", "what to do")
	edit := []string{"dead", "edit", "--group", g.Fingerprint, "--rename", "properties.nmae=properties.name", "--as",
		"ann", "--reason", "typo"}
	crmintake(t, "", append(edit, "--dry-run")...).want(t, 0, "20 events in 1 group")
	crmintake(t, "", edit...).want(t, 2, "no terminal")
	crmintakeFrom(t, t.Context(), at("n\n"), edit...).want(t, 1, "edit 20 events? [y/N]", "nothing was changed")
	crmintake(t, "", "audit").want(t, 0, "Nothing was done by hand.")
	crmintakeFrom(t, t.Context(), at("y\n"), edit...).want(t, 0, "Done to 20 events.")
	var change changeView
	crmintake(t, "", append(edit, "--yes", "--output", "json")...).json(t, &change)
	if change.Result.Done != 0 || change.Result.Unchanged != 20 {
		t.Errorf("again: %+v", change.Result)
	}
	var story storyView
	crmintake(t, "", "dead", "show", idAt(t, 7), "--output", "json").json(t, &story)
	if story.Payload.Text != `{"properties":{"name":"lease 6"}}` || story.Revision != 1 || len(story.Actions) != 1 ||
		story.Actions[0].Operator != "ann" ||
		story.Attempts[0].Errors[0].Value != "lease 6" {
		t.Errorf("%+v", story)
	}
	crmintake(t, "", "dead", "discard", idAt(t, 7), idAt(t, 8), "--reason", "not wanted", "--yes", "--as",
		"bob").want(t, 0, "2 events in 1 group", "Done to 2 events.")
	crmintake(t, "", "dead", "discard", idAt(t, 7), "--reason", "not wanted", "--yes").want(t, 0, "skipped: 1 event",
		"No dead events")
	crmintake(t, "", "dead", "show", idAt(t, 7)).want(t, 0, "discarded", "discard by bob: not wanted")
	crmintake(t, "", "audit").want(t, 0, "edit by ann", "discard by bob: not wanted", "typo")
	crmintake(t, "", "audit", "--limit", "1").want(t, 0, "There are more; add --before ")
}

// Bad input is one clear line with exit code 2, and changes nothing.
func TestDeadRefuses(t *testing.T) {
	t.Parallel()
	deadLetters(t, map[string]string{"a": `{"properties":{"a":"1"}}`, "b": `no`})
	file := filepath.Join(t.TempDir(), "event")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"properties":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`)
	before := page(t)
	for name, c := range map[string]struct {
		args string
		want string
	}{
		"everything":            {"discard --reason x --yes", "--all"},
		"all and a filter":      {"discard --reason x --all --text a --yes", "leave one out"},
		"no reason":             {"discard a --yes", "--reason"},
		"blank reason":          {"discard a --yes --reason=", "--reason"},
		"unknown id":            {"discard nobody --reason x --yes", `no event with the id "nobody"`},
		"unknown id, shown":     {"show nobody", `no event with the id "nobody"`},
		"unknown id, edited":    {"edit nobody --file " + file, `no event with the id "nobody"`},
		"no terminal":           {"discard a --reason x", "--yes"},
		"no terminal, edit":     {"edit a b --set properties.a=2", "--yes"},
		"everything edited":     {"edit --set properties.a=2 --yes", "--all"},
		"too large":             {"edit a --file " + file, "bytes"},
		"nothing to edit":       {"edit --group 3f2a9c1b04d7", "--set"},
		"two ways":              {"edit a --set properties.a=1 --file " + file, "--file"},
		"no property":           {"edit a --set amount=1", "properties.NAME"},
		"no property, unset":    {"edit a --unset properties.", "properties.NAME"},
		"twice":                 {"edit a --set properties.a=1 --unset properties.a", "named twice"},
		"no time":               {"list --since yesterday", "no time"},
		"backwards":             {"list --since 1h --until 2h", "nothing is since"},
		"no group":              {"list --group xyz", "\"xyz\" is no group"},
		"the future":            {"list --since 2999-01-01", "--since: 2999-01-01 00:00:00"},
		"the future, discarded": {"discard --since 2999-01-01 --reason x --yes", "is in the future"},
		"no place":              {"list --from here", "no place"},
		"no such reason":        {"list --dead-reason boredom", "invalid_event"},
		"limit":                 {"list --limit 0", "at least 1"},
		"groups' limit":         {"groups --limit 0", "at least 1"},
		"a format":              {"export --format xml", "csv"},
		"no editor":             {"edit a", "set VISUAL or EDITOR"},
		"an editor and dry-run": {"edit a --dry-run", "--set"},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, "EDITOR", "")
			r := crmintake(t, "", append([]string{"dead"}, strings.Fields(c.args)...)...)
			r.want(t, 2, c.want)
			if lines := strings.Count(strings.TrimSpace(r.err), "\n"); lines > 1 {
				t.Errorf("more than a clear line:\n%s", r.err)
			}
		})
	}
	crmintake(t, `{"properties":{"a":[]}}`, "dead", "edit", "a", "--file", "-").want(t, 2, "properties.a",
		"nothing was changed")
	crmintake(t, "", "audit", "--limit", "0").want(t, 2, "at least 1")
	for _, command := range []string{"groups", "list", "discard --reason x --yes", "replay --yes"} {
		args := append(append([]string{"dead"}, strings.Fields(command)...), "--group", "0123456789ab")
		crmintake(t, "", args...).want(t, 0, "No dead events")
	}
	crmintake(t, "", "dead", "list", "--group", "0123456789ab").want(t, 0,
		"No dead events in 0123456789ab; 'crmintake dead groups'")
	after := page(t)
	if a, b := fmt.Sprint(before), fmt.Sprint(after); a != b {
		t.Errorf("changed from %s to %s", a, b)
	}
	crmintake(t, "", "audit").want(t, 0, "Nothing was done by hand.")
}

// One event in an editor, or from a file on top of the revision that was read.
func TestDeadEdit(t *testing.T) {
	t.Parallel()
	deadLetters(t, map[string]string{"a": `{"properties": {"a":"1", "n":1.10}}`, "b": `no`})
	payload := func() string {
		var v storyView
		crmintake(t, "", "dead", "show", "a", "--output", "json").json(t, &v)
		return v.Payload.Text
	}
	setenv(t, "EDITOR", "true")
	crmintake(t, "", "dead", "edit", "a").want(t, 0, "Nothing was changed.")
	setenv(t, "EDITOR", "false")
	crmintake(t, "", "dead", "edit", "a").want(t, 1, "the editor false", "nothing was changed")
	setenv(t, "EDITOR", `sed -i 's/"1"/"2"/'`)
	crmintake(t, "", "dead", "edit", "a").want(t, 0, "revision 1")
	if got := payload(); got != `{"properties":{"a":"2","n":1.10}}` {
		t.Error(got)
	}
	setenv(t, "EDITOR", `sed -i s/properties/prpoerties/`)
	r := crmintake(t, "", "dead", "edit", "a")
	r.want(t, 2, "prpoerties", "nothing was changed")
	_, name, _ := strings.Cut(r.err, "What you edited is in ")
	name, _, _ = strings.Cut(name, "\n")
	if kept, err := os.ReadFile(name); err != nil || !strings.Contains(string(kept), "prpoerties") ||
		os.Remove(name) != nil {
		t.Errorf("%q: %q, %v", name, kept, err)
	}
	const other = `{"properties":{"a":"3"}}`
	crmintake(t, other+"\n", "dead", "edit", "a", "--file", "-", "--revision", "0").want(t, 1, "somebody else edited",
		"nothing was changed")
	crmintake(t, other+"\n", "dead", "edit", "a", "--file", "-", "--revision", "1").want(t, 0, "revision 2")
	var v editView
	crmintake(t, other+"\n", "dead", "edit", "a", "--file", "-", "--output", "json").json(t, &v)
	if v.Changed || v.Revision != 2 || payload() != other {
		t.Errorf("%+v, %s", v, payload())
	}
	// An event that was none can become one.
	crmintake(t, other, "dead", "edit", "b", "--file", "-").want(t, 0, "revision 1")
	// What can't be edited along with others is told, and left.
	crmintake(t, "", "dead", "edit", "--all", "--yes", "--set", `properties.a={"x":1,2}`).want(t, 0, "Done to 2 events.")
	if got := payload(); got != `{"properties":{"a":"{\"x\":1,2}"}}` {
		t.Error(got)
	}
}

// What export writes, publish takes in: byte for byte where it is one line of JSON, or as the text that it is.
func TestExportPublish(t *testing.T) {
	t.Parallel()
	payloads := map[string]string{
		"plain":   `{"properties":{"name":"a", "n":1.10},"associations":[ ]}`,
		"several": "{\n  \"properties\": {\"name\": \"b\\u00e9\"}\r\n}",
		"spaced":  ` {"properties":{}} `,
		"quoted":  `{"properties":{"name":"<\"',;>\t"}}`,
	}
	payloads["quoted"] = strings.ReplaceAll(payloads["quoted"], "\t", `\t`)
	deadLetters(t, payloads)
	for _, format := range []string{"json", "csv"} {
		t.Run(format, func(t *testing.T) {
			server, js := startNATS(t)
			setenv(t, "CRMINTAKE_NATS_URL", server.URL())
			setenv(t, "CRMINTAKE_FORMAT", format)
			crmintake(t, "", "init").want(t, 0)
			out := crmintake(t, "", "dead", "export")
			out.want(t, 0, "Exported 4 events.")
			in := out.out
			if format == "csv" {
				in = "\ufeff" + in // as a spreadsheet saves it
			}
			crmintake(t, in, "publish", "-").want(t, 0, "Published 4 events")
			crmintake(t, in, "publish", "-").want(t, 0, "Published 0 events", "4 more were in the stream already")
			crmintake(t, in, "publish", "-", "--id-suffix", ".2", "--object-type", "deals").want(t, 0, "Published 4 events")
			stream, err := js.Stream(t.Context(), "CRM_EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for seq := range uint64(8) {
				m, err := stream.GetMsg(t.Context(), seq+1)
				if err != nil {
					t.Fatal(err)
				}
				got[m.Subject+" "+m.Header.Get("Nats-Msg-Id")] = string(m.Data)
			}
			for id, payload := range payloads {
				for _, key := range []string{"crm.create.contracts " + id, "crm.create.deals " + id + ".2"} {
					if got[key] != payload {
						t.Errorf("%s: %q, want %q", key, got[key], payload)
					}
				}
			}
		})
	}
}

// An exported event that can't be published is a bad line.
func TestPublishBadExports(t *testing.T) {
	t.Parallel()
	_, args := publishTo(t)
	args = append(args, "--on-bad", "skip", "-")
	long, _ := json.Marshal(strings.Repeat("\x01", 1<<20+1))
	crmintake(t, strings.Join([]string{
		`{"event_id":"","object_type":"contracts","event":{"properties":{}}}`,
		`{"event_id":"a","event":{"properties":7}}`,
		`{"event_id":"b"}`,
		`{"event_id":"c","event":{"properties":{}}`,
		`{"event_id":"d","event_text":` + string(long) + `}`,
		`{"event_id":" e","event":{"properties":{}}}`,
		`{"event_id":"f","event":{"properties":{}}}`,
	}, "\n"), args...).want(t, 1, "line 1: an exported event without its id", "line 2: properties",
		"line 3: the event is empty", "line 4: ",
		"line 5: the event has more", "line 6: event_id begins", "Published 1 event")
	csv := append(args, "--format", "csv")
	crmintake(t, "event_id,object_type\na,b\n", csv...).want(t, 1, "the columns event_id, object_type and event")
	crmintake(t, "event_id,object_type,event,event_base64\na,b,,?\nb,c,,\nc,d\n", csv...).
		want(t, 1, "line 2: event_base64", "line 3: the event is empty", "wrong number of fields")
}
