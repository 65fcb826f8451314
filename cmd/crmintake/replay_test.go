package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/outbox/outboxtest"
)

// deadEvents makes an outbox, to which the environment points, with so many events dead for a reason: e-0, e-1, …
func deadEvents(t testing.TB, reason outbox.Reason, n int) {
	t.Helper()
	url := outboxtest.New(t)
	setenv(t, "CRMINTAKE_DATABASE_URL", url)
	store, err := outbox.Open(t.Context(), url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	list := make([]outbox.DeadLetter, n)
	for i := range list {
		id := fmt.Sprintf("e-%d", i)
		list[i] = outbox.DeadLetter{Reason: reason, Error: "wrong", Event: outbox.Event{
			ID: id, ObjectType: "contracts", Payload: fmt.Appendf(nil, `{"properties":{"name":%q}}`, id), Stream: "S",
			StreamSeq: 1,
		}}
	}
	if _, err := store.Batches.InsertDead(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// status tells where an event stands.
func status(t testing.TB, id string) string {
	t.Helper()
	var v view.Event
	crmintake(t, "", "outbox", "get", id, "--output", "json").json(t, &v)
	return v.Status
}

func TestDeadReplay(t *testing.T) {
	t.Parallel()
	deadEvents(t, outbox.Rejected, 3)
	for name, c := range map[string]struct{ args, want string }{
		"everything":         {"", "say --all"},
		"unknown id":         {"e-0 nobody --yes", `no event with the id "nobody"`},
		"all and a filter":   {"--all --text wrong --yes", "leave one out"},
		"no terminal":        {"e-0", "no terminal to ask on"},
		"a rate below 0":     {"--all --yes --rate=-1", "a rate of -1 events a second can't be kept"},
		"a rate of nothing":  {"--all --yes --rate=NaN", "can't be kept"},
		"too slow a rate":    {"--all --yes --rate 1e-14", "from 0.00001, about one a day, to 1,000,000"},
		"a bad quota":        {"--all --yes --quota many", "190/10s"},
		"no bulk replay":     {"", "--all"},
		"a reason of no one": {"--dead-reason nonsense", "dead-reason"},
	} {
		t.Run(name, func(t *testing.T) {
			r := crmintake(t, "", append([]string{"dead", "replay"}, strings.Fields(c.args)...)...)
			r.want(t, 2, c.want)
			if lines := strings.Count(strings.TrimSpace(r.err), "\n"); lines > 1 {
				t.Errorf("more than a clear line:\n%s", r.err)
			}
		})
	}
	crmintake(t, "", "dead", "replay", "--all", "--dry-run").want(t, 0, "3 events in 1 group",
		"3 events to send in 1 call", "No worker is running now")
	for i := range 3 {
		if s := status(t, fmt.Sprintf("e-%d", i)); s != "dead" {
			t.Errorf("e-%d is %s though nothing was done", i, s)
		}
	}
	crmintake(t, "", "dead", "replay", "e-0", "e-1", "--yes", "--as", "anna", "--reason", "mended").want(t, 0,
		"Sent again: 2 events.")
	if s := status(t, "e-1"); s != "retry" {
		t.Errorf("a replayed event is %s", s)
	}
	crmintake(t, "", "dead", "replay", "e-0", "e-2", "--yes").want(t, 0,
		"Not dead, or not any more, and so skipped: 1 event", "Sent again: 1 event.")
	crmintake(t, "", "dead", "replay", "e-0", "--yes").want(t, 0, "No dead events to do this to")
	var v replayView
	crmintake(t, "", "dead", "replay", "--all", "--yes", "--output", "json").json(t, &v)
	if v.Plan.TotalEvents != 0 || v.Done != nil || v.Replay != nil {
		t.Errorf("%+v", v)
	}
	crmintake(t, "", "audit").want(t, 0, "replay by anna", "mended")
}

// What may have a record already is held, unless a person takes the risk or the CRM can be asked.
func TestDeadReplayInDoubt(t *testing.T) {
	t.Parallel()
	deadEvents(t, outbox.UnknownOutcome, 4)
	crmintake(t, "", "dead", "replay", "e-0", "--yes").want(t, 2, "may have a record already", "--allow-duplicate",
		"nothing was changed")
	crmintake(t, "", "dead", "replay", "e-0", "--yes", "--id-property", "contracts=other").want(t, 2, "--allow-duplicate")
	crmintake(t, "", "dead", "replay", "e-1", "--yes", "--id-property", "contracts=name").want(t, 0,
		"asked about first", "Sent again: 1 event.")
	crmintake(t, "", "dead", "replay", "e-2", "--yes", "--allow-duplicate").want(t, 0, "possible duplicates",
		"Sent again: 1 event.")
	for id, want := range map[string]string{"e-0": "dead false", "e-1": "unknown false", "e-2": "retry true",
		"e-3": "dead false"} {
		var v view.Event
		crmintake(t, "", "outbox", "get", id, "--output", "json").json(t, &v)
		if got := fmt.Sprint(v.Status, " ", v.PossibleDuplicate); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

func TestReplayCommands(t *testing.T) {
	t.Parallel()
	deadEvents(t, outbox.Exhausted, 150)
	crmintake(t, "", "replay", "list").want(t, 0, "No bulk replays")
	crmintake(t, "", "replay", "show", "7").want(t, 2, "no replay 7")
	crmintake(t, "", "replay", "cancel", "7").want(t, 2, "no replay 7")
	crmintake(t, "", "dead", "replay", "--all", "--yes", "--detach", "--rate", "0.5", "--reason", "because", "--as",
		"anna").
		want(t, 0, "about 5m0s at 0.5 events/s", "Replay 1 is started")
	crmintake(t, "", "replay", "show", "1").want(t, 0, "Replay 1 is running", "by anna", "because", "0.5 events/s",
		"left", "150")
	conn, err := pgx.Connect(t.Context(), getenv(t, "CRMINTAKE_DATABASE_URL"))
	if err == nil {
		_, err = conn.Exec(t.Context(), `UPDATE replay_job SET failures = 3, failure = 'no room'`)
		_ = conn.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "replay", "list").want(t, 0, "FAILS", "tells why")
	crmintake(t, "", "replay", "show", "1").want(t, 0, "failed steps  3", "in a row; the last: no room", "tried again")
	for _, c := range []struct{ command, first, second string }{
		{"pause", "Replay 1 is paused: 0 of 150 events sent again, 150 left.", "was already paused"},
		{"resume", "Replay 1 is running", "was already running"},
		{"cancel", "Replay 1 is cancelled", "was already cancelled"},
		{"pause", "was already cancelled", "was already cancelled"},
	} {
		crmintake(t, "", "replay", c.command, "1").want(t, 0, c.first)
		crmintake(t, "", "replay", c.command, "1").want(t, 0, c.second)
	}
	var v steerView
	crmintake(t, "", "replay", "cancel", "1", "--output", "json").json(t, &v)
	if v.Changed || v.Replay.State != operator.ReplayCancelled || v.Replay.Left() != 150 {
		t.Errorf("%+v", v)
	}
	var list []operator.ReplayJob
	crmintake(t, "", "replay", "list", "--output", "json").json(t, &list)
	if len(list) != 1 || list[0].Reason != "because" {
		t.Errorf("%+v", list)
	}
	crmintake(t, "", "replay", "list").want(t, 0, "cancelled", "because")
	crmintake(t, "", "dead", "groups").want(t, 0, "150 dead events in 1 group")
	crmintake(t, "", "audit").want(t, 0, "replay pause by", "replay resume by", "replay cancel by")
}

// Whoever waits may leave: the job goes on.
func TestReplayInterrupted(t *testing.T) {
	t.Parallel()
	deadEvents(t, outbox.Exhausted, 150)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Somebody else sees the job begin.
	env := environmentIn(t)
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			var out bytes.Buffer
			execute(ctx, []string{"replay", "list"}, system{strings.NewReader(""), &out, io.Discard, env})
			if strings.Contains(out.String(), "running") {
				return
			}
		}
	}()
	r := crmintakeFrom(t, ctx, strings.NewReader(""), "dead", "replay", "--all", "--yes")
	r.want(t, 1, "interrupted", "replay 1 goes on", "crmintake replay cancel 1")
	crmintake(t, "", "replay", "show", "1").want(t, 0, "Replay 1 is running")
}

// Two terminals at once: each event is sent again once.
func TestDeadReplayAtOnce(t *testing.T) {
	t.Parallel()
	deadEvents(t, outbox.Exhausted, 90)
	var both sync.WaitGroup
	views := make([]replayView, 2)
	for i := range views {
		both.Go(func() {
			r := crmintake(t, "", "dead", "replay", "--all", "--yes", "--output", "json")
			r.want(t, 0)
			r.json(t, &views[i])
		})
	}
	both.Wait()
	var replayed int64
	for _, v := range views {
		if v.Done != nil { // else it came when all was done, and planned nothing
			replayed += v.Done.Replayed
			if v.Done.Replayed+v.Done.Skipped != v.Plan.TotalEvents {
				t.Errorf("planned %d, done %+v", v.Plan.TotalEvents, v.Done)
			}
		}
	}
	if replayed != 90 {
		t.Errorf("%d events sent again, want 90", replayed)
	}
}
