package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/outbox/outboxtest"
)

// undecided makes an outbox, to which the environment points, in which a refused call left these contracts in `retry`,
// and a call without an answer these deals in `unknown`.
func undecided(t *testing.T, retry, unknown []string) *outbox.Store {
	t.Helper()
	url := outboxtest.New(t)
	setenv(t, "CRMINTAKE_DATABASE_URL", url)
	setenv(t, "CRMINTAKE_AS", "ann")
	store, err := outbox.Open(t.Context(), url, 2)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	t.Cleanup(store.Close)
	call := func(objectType string, like outbox.Settlement, ids []string) {
		a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: objectType, Worker: "w", Lease: time.Hour}
		var events []outbox.Event
		var settlements []outbox.Settlement
		for _, id := range ids {
			events = append(events, outbox.Event{ID: id, ObjectType: objectType,
				Payload: []byte(`{"properties":{"name":"n"}}`), Stream: "S", StreamSeq: 1})
			like.EventID = id
			settlements = append(settlements, like)
		}
		_, err := store.Batches.Intend(t.Context(), a, events)
		must(err)
		must(store.Batches.Settle(t.Context(), a.ID, outbox.Call{Unknown: len(ids)}, settlements))
	}
	call("contracts", outbox.Settlement{Status: outbox.Retry, Error: "403 refused"}, retry)
	noAnswer := outbox.Settlement{Status: outbox.Unknown, Error: "no answer", InDoubt: true,
		Counted: true, Wait: time.Hour}
	call("deals", noAnswer, unknown)
	return store
}

// A pause lasts: the status and an event's story name the way out, which asks before it goes; what it leaves can be
// edited, replayed and discarded, and the audit has it.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	store := undecided(t, []string{"c1", "c2", "c3"}, []string{"d1", "d2"})
	giveUp := []string{"outbox", "give-up", "--reason", "the scope will not come"}
	with := func(args ...string) []string { return append(giveUp[:len(giveUp):len(giveUp)], args...) }

	crmintake(t, "", "status").want(t, 1, "paused  ", "nothing") // there is no NATS
	refused := outbox.Pause{ObjectType: "contracts", Cause: outbox.ByAnswer, Reason: "403"}
	if _, err := store.Pauses.Begin(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "status").want(t, 1, "'crmintake outbox give-up'")
	crmintake(t, "", "dead", "show", "c1").want(t, 0, "what to do", "'crmintake outbox give-up'")
	crmintake(t, `{"properties":{}}`, "dead", "edit", "c1", "--file", "-").want(t, 2,
		"not dead", "'crmintake outbox give-up'")

	crmintake(t, "", with("--object-type", "contracts", "--dry-run")...).want(t, 0,
		"3 events:", "contracts retry, to be dead as exhausted", "403 refused")
	crmintake(t, "", with("--all")...).want(t, 2, "no terminal")
	crmintakeFrom(t, t.Context(), at("n\n"), with("--all")...).want(t, 1,
		"give up on 5 events? [y/N]", "nothing was changed")
	crmintake(t, "", "audit").want(t, 0, "Nothing was done by hand.")

	crmintakeFrom(t, t.Context(), at("y\n"), with("c1", "c2")...).want(t, 0,
		"Done to 2 events.", "'crmintake dead groups'")
	crmintake(t, "", with("c1", "c3", "--yes")...).want(t, 0, "so skipped: 1 event", "Done to 1 event.")
	var v giveUpView
	crmintake(t, "", with("--status", "unknown", "--output", "json", "--yes")...).json(t, &v)
	if v.Result == nil || v.Result.Done != 2 || v.Plan.TotalEvents != 2 ||
		v.Plan.List[0].Becomes != outbox.UnknownOutcome ||
		v.Plan.Filter.Status != outbox.Unknown {
		t.Errorf("%+v", v)
	}
	crmintake(t, "", with("--all", "--yes")...).want(t, 0, "No events in retry or unknown")
	crmintake(t, "", "dead", "groups").want(t, 0,
		"5 dead events in 2 groups", "contracts exhausted", "deals unknown_outcome",
		"given up by hand: the scope will not come")
	crmintake(t, "", "audit", "--action", "give-up").want(t, 0, "give-up by ann", `"unknown"`)

	crmintake(t, "", "dead", "edit", "c1", "--set", "properties.name=m", "--yes").want(t, 0, "Done to 1 event.")
	crmintake(t, "", "dead", "discard", "c2", "--reason", "no use", "--yes").want(t, 0, "Done to 1 event.")
	crmintake(t, "", "dead", "replay", "c1", "d1", "d2", "--id-property", "deals=name", "--yes").want(t, 0,
		"2 may have a record already, and are asked about first", "Sent again: 3 events")
	var page pageView
	crmintake(t, "", "outbox", "list", "--output", "json").json(t, &page)
	var got []string
	for _, e := range page.Events {
		got = append(got, e.EventID+" "+e.Status)
	}
	if got, want := strings.Join(got, ", "), "c1 retry, c2 discarded, c3 dead, d1 unknown, d2 unknown"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Bad input is one clear line with exit code 2, and changes nothing; what errors say is not shown where that is not
// wanted.
func TestGiveUpRefuses(t *testing.T) {
	t.Parallel()
	undecided(t, []string{"c1"}, []string{"d1"})
	for name, c := range map[string]struct{ args, want string }{
		"everything":       {"--reason x --yes", "--all"},
		"all and a filter": {"--reason x --all --status retry --yes", "leave one out"},
		"all and a text":   {"--reason x --all --text a --yes", "leave one out"},
		"no reason":        {"c1 --yes", "--reason"},
		"blank reason":     {"c1 --yes --reason=", "--reason"},
		"unknown id":       {"nobody --reason x --yes", `no event with the id "nobody"`},
		"no terminal":      {"c1 --reason x", "--yes"},
		"another status":   {"--status dead --reason x --yes", "retry"},
		"the future":       {"--older-than 2999-01-01 --reason x --yes", "is in the future"},
		"no time":          {"--older-than yesterday --reason x --yes", "no time"},
	} {
		t.Run(name, func(t *testing.T) {
			crmintake(t, "", append([]string{"outbox", "give-up"}, strings.Fields(c.args)...)...).want(t, 2, c.want)
		})
	}
	crmintake(t, "", "outbox", "give-up", "--older-than", "1h", "--reason", "x", "--yes").want(t, 0,
		"No events in retry or unknown")
	crmintake(t, "", "audit").want(t, 0, "Nothing was done by hand.")
	r := crmintake(t, "", "outbox", "give-up", "--all", "--reason", "x", "--dry-run", "--redact")
	r.want(t, 0, "2 events:", "[redacted]")
	if strings.Contains(r.out, "refused") {
		t.Error(r.out)
	}
}

// What is a hundred thousand for the database is a line for the person.
func TestGiveUpOnMany(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 300 {
		ids = append(ids, fmt.Sprintf("c%03d", i))
	}
	undecided(t, ids, []string{"d1"})
	var v giveUpView
	crmintake(t, "", "outbox", "give-up", "--object-type", "contracts", "--older-than", "0s",
		"--reason", "x", "--yes", "--output", "json").json(t, &v)
	if v.Result == nil || *v.Result != (operator.Result{Action: 1, Done: 300}) {
		t.Errorf("%+v", v)
	}
}

// What waits is tried at once: one event without a question, more after one; what a pause holds is told.
func TestRetryNow(t *testing.T) {
	t.Parallel()
	store := undecided(t, []string{"c1", "c2"}, []string{"d1"})
	fixture{database: getenv(t, "CRMINTAKE_DATABASE_URL")}.exec(t,
		`UPDATE event SET next_attempt_at = now() + interval '1 hour' WHERE misses IS NULL`)
	due := func() (list []string) {
		t.Helper()
		var page pageView
		crmintake(t, "", "outbox", "list", "--output", "json").json(t, &page)
		for _, e := range page.Events {
			if e.NextAttemptAt.Before(time.Now().Add(time.Minute)) {
				list = append(list, e.EventID)
			}
		}
		return list
	}
	crmintake(t, "", "outbox", "retry-now").want(t, 2, "say --all")
	crmintake(t, "", "outbox", "retry-now", "nobody").want(t, 2, `no event with the id "nobody"`)
	crmintake(t, "", "outbox", "retry-now", "--all").want(t, 2, "no terminal")
	crmintake(t, "", "outbox", "retry-now", "--all", "--dry-run").want(t, 0, "2 events to be tried at once", "In doubt",
		"1 event.")
	if list := due(); list != nil {
		t.Errorf("due are %q", list)
	}
	pause := outbox.Pause{ObjectType: "contracts", Cause: outbox.ByAnswer, Reason: "403"}
	if _, err := store.Pauses.Begin(t.Context(), pause); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "outbox", "retry-now", "c1").want(t, 0, "Done to 1 event.", "Contracts is paused",
		"crmintake resume contracts")
	if list := due(); len(list) != 1 || list[0] != "c1" {
		t.Errorf("due are %q", list)
	}
	crmintake(t, "", "outbox", "retry-now", "c1").want(t, 0, "Due already", "No events that wait")
	var v retryNowView
	crmintake(t, "", "outbox", "retry-now", "--status", "retry", "--yes", "--output", "json").json(t, &v)
	if v.Result == nil || v.Result.Done != 1 || v.Plan.Due != 1 {
		t.Errorf("%+v", v)
	}
	crmintake(t, "", "audit").want(t, 0, "retry-now by ann")
	if list := due(); len(list) != 2 {
		t.Errorf("due are %q", list)
	}
}

// A discard says that it can be taken back, and is: by event, or as a whole.
func TestRestore(t *testing.T) {
	t.Parallel()
	deadLetters(t, map[string]string{"a": `no`, "b": `no`, "c": `no`})
	setenv(t, "CRMINTAKE_AS", "ann")
	discard := []string{"dead", "discard", "a", "b", "--reason", "no use"}
	crmintakeFrom(t, t.Context(), at("y\n"), discard...).want(t, 0, "'crmintake dead restore' can take it back",
		"Done to 2 events.")
	crmintake(t, `{"properties":{}}`, "dead", "edit", "a", "--file", "-").want(t, 2, "'crmintake dead restore'")
	for args, want := range map[string]string{
		"":              "name the events",
		"a --discard 1": "name the events",
		"--discard 7":   "action 7 is no discard",
		"nobody":        `no event with the id "nobody"`,
		"a":             "no terminal",
	} {
		crmintake(t, "", append([]string{"dead", "restore"}, strings.Fields(args)...)...).want(t, 2, want)
	}
	crmintake(t, "", "dead", "restore", "--discard", "1", "--dry-run").want(t, 0, "2 events to restore")
	crmintakeFrom(t, t.Context(), at("y\n"), "dead", "restore", "a", "c").want(t, 0, "skipped: 1 event",
		"Done to 1 event.")
	var v restoreView
	crmintake(t, "", "dead", "restore", "--discard", "1", "--reason", "of use", "--yes", "--output", "json").json(t, &v)
	if v.Result == nil || v.Result.Done != 1 || v.Plan.NotSo != 1 {
		t.Errorf("%+v", v)
	}
	crmintake(t, "", "dead", "restore", "a", "b", "--yes").want(t, 0, "skipped: 2 events", "No discarded events")
	crmintake(t, "", "dead", "groups").want(t, 0, "3 dead events")
	crmintake(t, "", "dead", "show", "b").want(t, 0, "dead (invalid_event)", "restore by ann", "of use")
	crmintake(t, `{"properties":{"a":"1"}}`, "dead", "edit", "a", "--file", "-").want(t, 0, "revision 1")
}

// An object type that nobody has met is paused all the same, and what may be meant is told.
func TestPauseOfAnUnmetType(t *testing.T) {
	t.Parallel()
	undecided(t, []string{"c1"}, []string{"d1"})
	crmintake(t, "", "pause", "contract", "--reason", "x").want(t, 0, "Contract is paused",
		"No call was ever made for contract", "Did you mean contracts?", "crmintake resume contract")
	var r pauseReport
	crmintake(t, "", "pause", "quite-another", "--reason", "x", "--output", "json").json(t, &r)
	if !r.Unmet || r.Nearest != "" {
		t.Errorf("%+v", r)
	}
	for _, met := range []string{"contracts", "deals", "--all"} {
		if r := crmintake(t, "", "pause", met, "--reason", "x"); strings.Contains(r.out, "No call") || r.code != 0 {
			t.Errorf("%s: %s%s", met, r.out, r.err)
		}
	}
}
