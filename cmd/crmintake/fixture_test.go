package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/deploy/local"
	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// fixture is a place where commands find all that they need in the environment.
type fixture struct {
	nats     *local.NATS
	crm      *hubspottest.Server
	database string
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	server, _ := startNATS(t)
	d := fixture{nats: server, crm: account(t), database: outboxtest.New(t)}
	for name, value := range map[string]string{
		"NATS_URL": server.URL(), "DATABASE_URL": d.database, "HUBSPOT_URL": d.crm.URL, "HUBSPOT_TOKEN": secret,
		"ID_PROPERTY": "contracts=event_id", "BATCH_WAIT": "50ms", "AS": "ann",
	} {
		setenv(t, "CRMINTAKE_"+name, value)
	}
	crmintake(t, "", "init").want(t, 0)
	return d
}

// exec does what only a test does: it changes the database past the program.
func (d fixture) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, ids ...string) {
	t.Helper()
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, `{"properties":{"name":"x","event_id":%q}}`+"\n", id)
	}
	crmintake(t, b.String(), "publish", "--object-type", "contracts", "--id-field", "event_id", "-").want(t, 0)
}

// idAt is the id of the event whose message has that sequence.
func idAt(t testing.TB, seq int) (id string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), getenv(t, "CRMINTAKE_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SELECT event_id FROM event WHERE stream_seq = $1`, seq).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// output is what a command prints while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running runs a command until the test ends, or stop is called, which returns its exit code.
func running(t testing.TB, args ...string) (out, err *output, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, err = &output{}, &output{}
	ended := make(chan int, 1)
	system := systemIn(t, strings.NewReader(""), out, err)
	go func() { ended <- execute(ctx, args, system) }()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	return out, err, stop
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// A pause reaches a worker that runs, and nothing but resume ends it.
func TestPauseAndResumeARunningWorker(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	_, log, stop := running(t, "run", "--trial-interval", "1s")
	logged := func(text string) func() bool { return func() bool { return strings.Contains(log.String(), text) } }
	publish(t, "a")
	until(t, "the first record is made", func() bool { return d.crm.Len("contracts") == 1 })

	crmintake(t, "", "pause", "contracts", "--reason", "a mess").want(t, 0, "Contracts is paused",
		"crmintake resume contracts")
	until(t, "the worker is paused", logged(`msg="calls are paused"`))
	calls := d.crm.Stats().Requests
	publish(t, "b")
	var s statusReport
	until(t, "the event is given back to the stream, or left there", func() bool {
		r := crmintake(t, "", "status", "--output", "json")
		r.json(t, &s)
		return s.Backlog != nil && s.Backlog.Unacked+s.Backlog.Pending == 1
	})
	if len(s.Pauses) != 1 || s.Pauses[0].Reason != "a mess" || s.Pauses[0].By != "ann" || s.Pauses[0].Cause != "operator" {
		t.Errorf("%+v", s.Pauses)
	}
	// Beyond a trial's time, a round of the worker and its start with a new credential.
	d.exec(t, `UPDATE pause SET since = since - interval '1 hour'`)
	stop()
	_, log, stop = running(t, "run", "--trial-interval", "1s")
	logged = func(text string) func() bool { return func() bool { return strings.Contains(log.String(), text) } }
	until(t, "the next worker is paused", logged(`msg="calls are paused"`))
	var shown result
	until(t, "the next worker is alive", func() bool {
		shown = crmintake(t, "", "status")
		return strings.Contains(shown.out, "1 alive")
	})
	shown.want(t, 0, "contracts, for 1h, by ann: a mess", "100 calls")
	crmintake(t, "", "pause", "contracts", "--reason", "still a mess", "--as", "bob").want(t, 0, "was paused already")
	if n := d.crm.Stats().Requests; n != calls {
		t.Errorf("%d calls during the pause", n-calls)
	}
	crmintake(t, "", "pause", "--all", "--reason", "closing time").want(t, 0, "Everything is paused")
	crmintake(t, "", "resume", "contracts").want(t, 0, "Contracts goes on", "still a mess", "Still paused: everything",
		"resume --all")
	crmintake(t, "", "resume", "contracts").want(t, 0, "Contracts was not paused")
	crmintake(t, "", "resume", "--all").want(t, 0, "Everything goes on")
	until(t, "the second record is made", func() bool { return d.crm.Len("contracts") == 2 })
	d.exec(t, `UPDATE quota SET blocked_until = now() + interval '1 hour', blocked_why = '429'`)
	crmintake(t, "", "status").want(t, 0, "the CRM wants no call for another 59m",
		"(429); 'crmintake resume --all' ends that")
	crmintake(t, "", "resume", "--all").want(t, 0, "Everything goes on. The CRM wanted no call until", ": 429")
	crmintake(t, "", "resume", "--all").want(t, 0, "Everything was not paused")
	if code := stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, log)
	}
}

func TestPauseUsage(t *testing.T) {
	t.Parallel()
	setenv(t, "CRMINTAKE_DATABASE_URL", "postgres://127.0.0.1:1/x")
	for _, c := range []struct {
		args string
		want string
	}{
		{"pause contracts", "--reason"},
		{"pause --reason x", "--all"},
		{"pause contracts --all --reason x", "give one"},
		{"pause a/b --reason x", "not an object type"},
		{"pause * --reason x", "not an object type"},
		{"resume", "--all"},
	} {
		crmintake(t, "", strings.Split(c.args, " ")...).want(t, 2, c.want)
	}
	crmintake(t, "", "pause", "contracts", "--reason", " ").want(t, 2, "--reason")
	crmintake(t, "", "resume", "contracts").want(t, 1)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	crmintake(t, "", "status").want(t, 0, "The outbox is empty", "0 pending, 0 unacked", "none in flight",
		"paused   nothing", "0 alive", "nothing waits")
	publish(t, "a", "b")
	crmintake(t, `{"properties":{"nmae":"x"}}`, "publish", "--object-type", "contracts", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	publish(t, "c")
	d.exec(t, `UPDATE event SET dead_at = now() - interval '3 hours' WHERE dead_at IS NOT NULL`)
	r := crmintake(t, "", "status")
	r.want(t, 0, "CREATED", "1 (3h)", "1 pending")
	var s statusReport
	crmintake(t, "", "status", "--output", "json").json(t, &s)
	if len(s.Events) != 2 || s.Events[0].Events != 2 || s.Events[1].Events != 1 || s.Backlog.Pending != 1 ||
		s.Quota == nil || s.Quota.UsedToday == 0 || s.Scaling.Events != 1 {
		t.Errorf("%+v", s)
	}

	// What can't be reached is told, the rest is shown.
	if err := d.nats.Stop(); err != nil {
		t.Fatal(err)
	}
	r = crmintake(t, "", "status")
	r.want(t, 1, "can't connect to NATS", "1 (3h)")
	if r.err != "" {
		t.Errorf("told twice: %s", r.err)
	}
	s = statusReport{}
	r = crmintake(t, "", "status", "--output", "json", "--database-url", "postgres://u:"+secret+"@127.0.0.1:1/x")
	r.json(t, &s)
	if r.code != 1 || s.Status != nil || len(s.Faults) != 2 || strings.Contains(r.out+r.err, secret) {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
	crmintake(t, "", "status", "--nats-url", "http://x").want(t, 2, "nats://")
}

func TestStatusWatch(t *testing.T) {
	t.Parallel()
	newFixture(t)
	out, _, stop := running(t, "status", "--watch=100ms")
	until(t, "it is shown thrice", func() bool { return strings.Count(out.String(), "The outbox is empty") >= 3 })
	if code := stop(); code != 0 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("exit code %d, %q", code, out)
	}
	out, _, stop = running(t, "status", "--watch", "100ms", "--output", "json")
	until(t, "it is shown twice", func() bool { return strings.Count(out.String(), "\n") >= 2 })
	stop()
	for d := json.NewDecoder(strings.NewReader(out.String())); ; {
		var s statusReport
		if err := d.Decode(&s); err == io.EOF {
			break
		} else if err != nil || s.Status == nil {
			t.Fatal(err, out)
		}
	}
	crmintake(t, "", "status", "--watch=1ms").want(t, 2, "100ms at least")
	crmintake(t, "", "status", "--watch=often").want(t, 2, "often")
	crmintake(t, "", "status", "--watch=false").want(t, 0)
}

func TestOutboxListAndTail(t *testing.T) {
	t.Parallel()
	newFixture(t)
	tail, log, stopTail := running(t, "outbox", "tail", "--output", "json")
	people, log2, stopPeople := running(t, "outbox", "tail", "--status", "created")
	until(t, "both follow", func() bool {
		return strings.Contains(log.String(), "following") && strings.Contains(log2.String(), "following")
	})
	publish(t, "a", "b", "c d")
	crmintake(t, `{"properties":{"nmae":"x"}}`+"\n", "publish", "--object-type", "contracts", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	until(t, "all outcomes are told", func() bool {
		return strings.Count(tail.String(), "\n") == 4 && strings.Count(people.String(), "\n") == 3
	})
	if stopTail() != 0 || stopPeople() != 0 {
		t.Error("an interrupted tail fails")
	}
	told := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(tail.String())); dec.More(); {
		var v view.Event
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		told[v.EventID] = v.Status
	}
	if len(told) != 4 || told["a"] != "created" || told[idAt(t, 4)] != "dead" {
		t.Errorf("%v", told)
	}
	if text := people.String(); !strings.Contains(text, "record 1") || strings.Contains(text, "dead") {
		t.Error(text)
	}

	crmintake(t, "", "outbox", "list").want(t, 0, idAt(t, 4), "rejected: ", "record 1", "c d")
	crmintake(t, "", "outbox", "list", "--status", "retry").want(t, 0, "No such events")
	first := crmintake(t, "", "outbox", "list", "--status", "created", "--limit", "2")
	first.want(t, 0, "There are more: --after b")
	var page pageView
	crmintake(t, "", "outbox", "list", "--status", "created", "--limit", "2", "--after", "b", "--output",
		"json").json(t, &page)
	if len(page.Events) != 1 || page.Events[0].EventID != "c d" || page.Next != "" {
		t.Errorf("%+v", page)
	}
	crmintake(t, "", "outbox", "list", "--limit", "0").want(t, 2, "--limit")
	crmintake(t, "", "outbox", "list", "--status", "lost").want(t, 2, "lost")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d, monitorURL := monitored(t, func(o *server.Options) { o.SyncAlways = true })
	setenv(t, "CRMINTAKE_NATS_MONITOR_URL", monitorURL)
	if err := d.crm.SetLimit(hubspottest.Limit{Calls: 190, Window: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	before := d.crm.Len("contracts")
	r := crmintake(t, "", "check")
	r.want(t, 0, "all of them can be used", "connected to 127.0.0.1", "up to date", "accepted",
		"event_id of contracts is there and unique",
		"100/10s of the account's 190/10s", "the database's and the CRM's agree within 30s")
	if strings.Contains(r.out, "failure") || strings.Contains(r.out, "warning") || d.crm.Len("contracts") != before {
		t.Error(r.out)
	}
	var list []finding
	crmintake(t, "", "check", "--output", "json", "--quota", "200/10s").json(t, &list)
	if !slices.ContainsFunc(list, func(f finding) bool {
		return f.Level == warning && strings.Contains(f.Text, "--quota 190/10s")
	}) {
		t.Errorf("%+v", list)
	}

	// What status tells, check does not keep to itself.
	crmintake(t, "", "pause", "deals", "--reason", "a mess").want(t, 0)
	d.exec(t,
		`INSERT INTO worker (name, seen_at, batch_size, events_per_second) VALUES ('gone', now() - interval '1 hour', 1, 0)`)
	d.exec(t, `INSERT INTO event (event_id, object_type,
  status, payload, content_hash, dead_at, reason, error, fingerprint, stream, stream_seq)
		VALUES ('bad', 'deals', 'dead', '{}', 'h', now(), 'rejected', 'no such option', 'f', 's', 1)`)
	d.exec(t, `INSERT INTO event (event_id, object_type,
  status, payload, content_hash, next_attempt_at, stream, stream_seq)
		VALUES ('waits', 'deals', 'retry', '{}', 'h', now(), 's', 2)`)
	crmintake(t, "", "check").want(t, 0, "warning  pause", "deals is paused by a person", "ann: a mess",
		"crmintake resume deals", "warning  dead",
		"1 dead event needs a person", "no such option", "crmintake dead groups", "warning  workers",
		"no worker is there, and 1 event waits, for 1h", "crmintake run")
	d.exec(t, `DELETE FROM event`)
	d.exec(t, `DELETE FROM worker`)
	crmintake(t, "", "resume", "deals").want(t, 0)

	empty := outboxtest.New(t)
	if err := migrations.DownTo(t.Context(), empty, 0); err != nil {
		t.Fatal(err)
	}
	untouched := fixture{database: empty}
	untouched.exec(t, `DROP TABLE goose_db_version`)
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"a property that isn't there": {[]string{"--id-property", "contracts=nobody"}, 1,
			[]string{"contracts has no property nobody", "accepted"}},
		"no such object type": {[]string{"--id-property", "tickets=x"}, 1,
			[]string{"tickets has no property x, or there is no such object type"}},
		"a property that isn't unique": {[]string{"--id-property", "contracts=name"}, 1,
			[]string{"one value in several records"}},
		"one whose values change": {[]string{"--id-property", "contracts=serial"}, 0, []string{"there and unique",
			"warning  id property", "leading zeros", "single-line text"}},
		"one that can't be written": {[]string{"--id-property", "contracts=hs_object_id"}, 1, []string{"can't be written"}},
		"no id property":            {[]string{"--id-property", ""}, 0, []string{"warning  id property", "accepted"}},
		"a wrong token": {[]string{"--hubspot-token", "pat-other"}, 1, []string{"failure  credential",
			"401", "provide a valid access token"}},
		"no CRM": {[]string{"--hubspot-url", "http://127.0.0.1:1"}, 1, []string{"failure  CRM",
			"check --hubspot-url"}},
		"no NATS": {[]string{"--nats-url", "nats://u:" + secret + "@127.0.0.1:1"}, 1,
			[]string{"failure  NATS", "connected"}},
		"no stream": {[]string{"--stream", "OTHER"}, 1, []string{"failure  stream", "crmintake init"}},
		"no database": {[]string{"--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x"}, 1,
			[]string{"failure  database", "check --database-url", "accepted"}},
		"no schema": {[]string{"--database-url", empty}, 1, []string{"failure  schema",
			"crmintake migrate up"}},
		"settings": {[]string{"--lease", "30s", "--in-flight", "0"}, 1, []string{"failure  settings",
			"--in-flight"}},
		"settings against each other": {[]string{"--lease", "30s"}, 1, []string{"failure  settings",
			"longer than the call timeout"}},
		"no token": {[]string{"--hubspot-token", ""}, 1, []string{"there is no credential", "up to date"}},
		"no quota": {[]string{"--quota", "off"}, 0, []string{"warning  quota", "--quota 190/10s"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := crmintake(t, "", append([]string{"check"}, c.args...)...)
			r.want(t, c.code, c.want...)
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("it tells the credential: %s", r.err)
			}
		})
	}
	conn, err := pgx.Connect(t.Context(), empty)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var made int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(
		&made); err != nil || made != 0 {
		t.Errorf("check made %d tables, %v", made, err)
	}
	if n := d.crm.Stats().Malformed; n != 0 {
		t.Errorf("%d malformed requests", n)
	}
}
