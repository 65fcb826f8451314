package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/worker"
)

// publishTo gives what is needed to publish contacts to a stream of the test's own.
func publishTo(t *testing.T) (stream jetstream.Stream, args []string) {
	t.Helper()
	server, js := startNATS(t)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.create.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return stream, []string{"publish", "--nats-url", server.URL(), "--object-type", "contacts"}
}

type stored struct{ Subject, ID, Body string }

// contents is all that the stream holds.
func contents(t *testing.T, stream jetstream.Stream) (list []stored) {
	t.Helper()
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq != 0 && seq <= info.State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, stored{m.Subject, m.Header.Get("Nats-Msg-Id"), string(m.Data)})
	}
	return list
}

func body(name string) string { return fmt.Sprintf(`{"properties":{"name":%q}}`, name) }

func TestPublish(t *testing.T) {
	t.Parallel()
	stream, args := publishTo(t)
	// All that a line may end with, a blank line, and a last one without a line break.
	in := body("a") + "\r\n\n  \t\n" + " " + body("b") + " \n" + body("c")
	crmintake(t, in, append(args, "-")...).want(t, 0, "Published 3 events on crm.create.contacts.\n")
	want := []stored{
		{"crm.create.contacts", "", body("a")},
		{"crm.create.contacts", "", " " + body("b") + " "}, // as it came
		{"crm.create.contacts", "", body("c")},
	}
	if diff := cmp.Diff(want, contents(t, stream)); diff != "" {
		t.Error(diff)
	}
	crmintake(t, body("d"), append(args, "-")...).want(t, 0, "Published 1 event on",
		"It has no id; it is the message 4 of ")
	crmintake(t, body("e")+"\n"+body("f"), append(args, "-")...).want(t, 0,
		"no ids; they are among the messages 5 to 6 of ")
	none := crmintake(t, "", append(args, "-")...)
	none.want(t, 0, "Published 0 events")
	if strings.Count(none.out, "\n") != 1 {
		t.Errorf("it tells of ids: %s", none.out)
	}

	// Without ids, publishing twice is publishing twice.
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, []byte(body("a")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", append(args, file)...).want(t, 0, "Published 1 event on")
	if n := len(contents(t, stream)); n != 7 {
		t.Errorf("%d events", n)
	}
	crmintake(t, "", append(args, file+".not")...).want(t, 1, "no such file")
}

func TestPublishIDs(t *testing.T) {
	t.Parallel()
	stream, args := publishTo(t)
	args = append(args, "--id-field", "key", "--output", "json", "-")
	in := `{"properties":{"key":"k-1"}}
{"properties":{"key":1.10}}
{"properties":{"key":"é \"quoted\""}}
`
	for round, want := range []publishReport{{Published: 3}, {Duplicates: 3}} {
		want.Subject, want.LastLine = "crm.create.contacts", 3
		want.Sent = Sent{IDs: []string{"k-1", "1.10", `é "quoted"`}, First: 1, Last: 3}
		r := crmintake(t, in, args...)
		r.want(t, 0)
		var got publishReport
		r.json(t, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
	}
	var ids []string
	for _, s := range contents(t, stream) {
		ids = append(ids, s.ID)
	}
	if diff := cmp.Diff([]string{"k-1", "1.10", `é "quoted"`}, ids); diff != "" {
		t.Error(diff)
	}
}

// Few ids are told, and of more the first and the last.
func TestPublishTellsIDs(t *testing.T) {
	t.Parallel()
	_, args := publishTo(t)
	args = append(args, "--id-field", "key", "-")
	var in strings.Builder
	for n := range 4 {
		fmt.Fprintf(&in, `{"properties":{"key":"k-%d"}}`+"\n", n)
		want := []string{"\nBy id: k-0.\n", "\nBy id: k-0, k-1.\n", "\nBy id: k-0, k-1, k-2.\n",
			"\nTheir ids are from k-0 to k-3.\n"}[n]
		crmintake(t, in.String(), args...).want(t, 0, want)
	}
}

// Contacts, and then deals with the same ids: the stream drops all the deals, which is said, and is no success.
func TestPublishUnderOthersIDs(t *testing.T) {
	t.Parallel()
	stream, args := publishTo(t)
	var in strings.Builder
	for n := range 150 {
		fmt.Fprintf(&in, `{"properties":{"key":"%d"}}`+"\n", n)
	}
	args = append(args, "--id-field", "key")
	crmintake(t, in.String(), append(args, "-")...).want(t, 0, "Published 150 events on crm.create.contacts.\n")
	deals := append(args, "--object-type", "deals", "-")
	crmintake(t, in.String(), deals...).want(t, 1,
		`line 1 (id "0"): the stream CRM_EVENTS has another event under this id, of crm.create.contacts`,
		"dropped by the stream for the id", "Published 0 events on crm.create.deals")
	r := crmintake(t, in.String(), append(deals, "--on-bad", "skip", "--output", "json")...)
	r.want(t, 1, "150 events dropped by the stream", "more events were dropped so")
	if n := strings.Count(r.err, "another event under this id"); n != mostTold {
		t.Errorf("%d are told", n)
	}
	var got publishReport
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(publishReport{Subject: "crm.create.deals", Dropped: 150, LastLine: 150}, got); diff != "" {
		t.Error(diff)
	}
	// Those of before are there, and the same; one has changed.
	changed := strings.Replace(in.String(), `{"key":"7"}`, `{"key":"7","name":"other"}`, 1)
	r = crmintake(t, changed, append(args, "-", "--on-bad", "skip")...)
	r.want(t, 1, `line 8 (id "7")`, "149 more were in the stream already", "1 event dropped by the stream for the id")
	if strings.Contains(r.out, "Their ids are") { // not of the one that is another's
		t.Error(r.out)
	}
	if n := len(contents(t, stream)); n != 150 {
		t.Errorf("%d events in the stream", n)
	}
}

func TestPublishBadLines(t *testing.T) {
	t.Parallel()
	withKey := func(key string) string { return fmt.Sprintf(`{"properties":{"key":%q}}`, key) }
	fits := body(strings.Repeat("x", 60_000))
	for name, c := range map[string]struct{ line, reason string }{
		"no JSON":        {`{"properties":`, "byte"},
		"no event":       {`{"name":"a"}`, "name"},
		"no id":          {body("a"), "properties.key, which --id-field names, is missing or empty"},
		"empty id":       {withKey(""), "properties.key, which --id-field names, is missing or empty"},
		"id too long":    {withKey(strings.Repeat("k", worker.MaxEventIDBytes+1)), "257 bytes"},
		"id with breaks": {withKey("a\nb"), "control character"},
		"id with spaces": {withKey(" a"), "white space"},
		"too long":       {fits + strings.Repeat(" ", worker.MaxEventBytes), "more than the 1048576 bytes"},
		// An event may have a MiB, but NATS by default takes no more with all headers.
		"too long for NATS": {withKey("k9") + strings.Repeat(" ", worker.MaxEventBytes-len(withKey("k9"))),
			"too large for NATS"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, args := publishTo(t)
			args = append(args, "--id-field", "key", "-")
			in := withKey("k1") + "\n" + c.line + "\r\n\n" + withKey("k4") + "\n"

			crmintake(t, in, args...).want(t, 1, "line 2: ", c.reason, "nothing after it was published",
				"all events up to line 1 are published", "Published 1 event on", "1 bad line not published")
			if got := contents(t, stream); len(got) != 1 || got[0].ID != "k1" {
				t.Errorf("stop: in the stream are %v", got)
			}
			crmintake(t, in, append(args, "--on-bad", "skip")...).want(t, 1, "line 2: ", c.reason,
				"Published 1 event on", "1 more were in the stream already", "1 bad line not published")
			if got := contents(t, stream); len(got) != 2 || got[1].ID != "k4" {
				t.Errorf("skip: in the stream are %v", got)
			}
		})
	}
}

func TestPublishWithoutStream(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	args := []string{"publish", "--nats-url", server.URL(), "--object-type", "contacts", "-"}
	untouched := iotest.ErrReader(errors.New("input was read"))
	crmintakeFrom(t, t.Context(), untouched, args...).want(t, 1, "the stream CRM_EVENTS does not exist",
		"'crmintake init'")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.create.deals"}}); err != nil {
		t.Fatal(err)
	}
	crmintakeFrom(t, t.Context(), untouched, args...).want(t, 1, "does not take crm.create.contacts", "crm.create.deals")
	crmintakeFrom(t, t.Context(), untouched, append(args, "--nats-url", "nats://127.0.0.1:1")...).want(t, 1,
		"can't connect to NATS at 127.0.0.1:1")
}

func TestPublishUsage(t *testing.T) {
	t.Parallel()
	crmintake(t, "", "publish", "--object-type", "contacts").want(t, 2, "<file>")
	for flag, value := range map[string]string{
		"--object-type": "a.b",
		"--subject":     "crm.create",
		"--on-bad":      "ignore",
		"--nats-url":    "nats://",
	} {
		crmintake(t, "", "publish", "--object-type", "contacts", "-", flag, value).want(t, 2)
	}
	crmintake(t, "", "publish", "--help").want(t, 0, "--id-field", "bad or dropped, skipped or not")
}

// Interrupted while it waits for input, it says how far it got.
func TestPublishInterrupted(t *testing.T) {
	t.Parallel()
	stream, args := publishTo(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	ended := make(chan result)
	go func() { ended <- crmintakeFrom(t, ctx, r, append(args, "-")...) }()
	if _, err := io.WriteString(w, body("a")+"\n"+body("b")+"\n"); err != nil {
		t.Fatal(err)
	}
	for len(contents(t, stream)) < 2 { // ends by the test's own deadline
	}
	cancel()
	(<-ended).want(t, 1, "interrupted", "all events up to line 2 are published",
		"'tail -n +3 FILE | crmintake publish - …'", "Published 2 events on")
}

// An event that is not of an export has no object type of its own.
func TestPublishWithoutObjectType(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.create.>"}}); err != nil {
		t.Fatal(err)
	}
	crmintake(t, body("a")+"\n", "publish", "--nats-url", server.URL(), "-").want(t, 2, "line 1", "--object-type")
}

func TestPublishReadError(t *testing.T) {
	t.Parallel()
	stream, args := publishTo(t)
	in := io.MultiReader(strings.NewReader(body("a")+"\n"), iotest.ErrReader(errors.New("the disk is gone")))
	crmintakeFrom(t, t.Context(), in, append(args, "-")...).want(t, 1, "line 2: the disk is gone",
		"all events up to line 1 are published")
	if n := len(contents(t, stream)); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestReadLines(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("x", worker.MaxEventBytes)
	type short struct {
		Text    string
		TooLong bool
	}
	for name, c := range map[string]struct {
		in   string
		want []short
	}{
		"nothing":       {"", nil},
		"no line break": {"a", []short{{"a", false}}},
		"breaks": {"a\nb\r\n\r\n\nc\rd\n", []short{{"a", false}, {"b", false}, {"", false}, {"", false},
			{"c\rd", false}}},
		"longest": {longest + "\n" + longest + "\r\n" + longest, []short{{longest, false}, {longest, false},
			{longest, false}}},
		"too long":          {longest + "x\na", []short{{"", true}, {"a", false}}},
		"too long by CR":    {longest + "\r\r\na", []short{{"", true}, {"a", false}}},
		"far too long":      {strings.Repeat(longest, 5) + "\na\n", []short{{"", true}, {"a", false}}},
		"too long, and end": {longest + "xy", []short{{"", true}}},
	} {
		t.Run(name, func(t *testing.T) {
			lines := make(chan line)
			go readLines(t.Context(), iotest.HalfReader(strings.NewReader(c.in)), lines)
			var got []short
			for number := 1; ; number++ {
				l := <-lines
				if l.number != number {
					t.Errorf("line %d has number %d", number, l.number)
				}
				if l.err != nil {
					if l.err != io.EOF || l.end != int64(len(c.in)) {
						t.Errorf("at the end: %v, %d bytes of %d", l.err, l.end, len(c.in))
					}
					break
				}
				got = append(got, short{string(l.text), l.tooLong})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%.300s", diff)
			}
		})
	}
}

func TestNoBarWithoutTerminal(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if view.Bar(file, 10) != nil || view.Bar(new(bytes.Buffer), 10) != nil {
		t.Error("a bar that nobody sees")
	}
}
