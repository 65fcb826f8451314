package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local"
	"crmintake/deploy/local/proxy"
)

// troubled is a fixture of which anything may fail: its commands reach Postgres and NATS by a proxy each, and the CRM
// by a handler.
type troubled struct {
	fixture
	natsURL          string // past the proxy
	postgres, stream *proxy.Proxy
	crm              atomic.Pointer[http.HandlerFunc] // what answers in the CRM's place; nil: it does
}

func newTroubled(t *testing.T) *troubled {
	o := &troubled{fixture: newFixture(t)}
	o.natsURL = o.nats.URL()
	well := o.fixture.crm.CRM
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := o.crm.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		well.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	var databaseURL, natsURL string
	databaseURL, o.postgres = behind(t, o.database)
	natsURL, o.stream = behind(t, o.natsURL)
	setenv(t, "CRMINTAKE_DATABASE_URL", databaseURL)
	setenv(t, "CRMINTAKE_NATS_URL", natsURL)
	setenv(t, "CRMINTAKE_HUBSPOT_URL", front.URL)
	setenv(t, "CRMINTAKE_TRIAL_INTERVAL", "1m")
	setenv(t, "NO_COLOR", "1")
	return o
}

func (o *troubled) answers(answer http.HandlerFunc) { o.crm.Store(&answer) }

// publish is past the proxy: the publisher has no trouble.
func (o *troubled) publish(t testing.TB, objectType, properties string, n int) {
	t.Helper()
	var lines strings.Builder
	for range n {
		fmt.Fprintf(&lines, `{"properties":%s}`+"\n", properties)
	}
	crmintake(t, lines.String(), "publish", "--nats-url", o.natsURL, "--object-type", objectType, "-").want(t, 0)
}

func (o *troubled) jetstream(t testing.TB) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(o.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// shown is what status leaves on a terminal of 80 columns and 24 lines, whatever its exit code.
func shown(t testing.TB, code int) string {
	t.Helper()
	return strings.Join(onScreen(t, code, "status", "--exit-code"), "\n")
}

// Whatever is wrong, one command tells it on one screen, in its first line, with what to do about it. Exit code 3
// tells a program so.
func TestTroublesOnAScreen(t *testing.T) {
	t.Parallel()
	const name = `{"name":"x"}`
	broken := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	var table strings.Builder
	for _, c := range []struct {
		name  string
		env   map[string]string
		begin func(*testing.T, *troubled) // with a worker that works
		code  int
		first string   // of the first line
		has   []string // on the screen: the cause, and what to do
	}{
		{"a wrong token", map[string]string{"HUBSPOT_TOKEN": "pat-wrong"}, func(t *testing.T,
			o *troubled) {
			o.publish(t, "contracts", name, 3)
		}, 3,
			"held: all calls are paused: the CRM refuses the credential", []string{"401", "--hubspot-token-file",
				"until a trial in"}},
		{"NATS is down", nil, func(_ *testing.T, o *troubled) { o.stream.Refuse(true); o.stream.Cut() }, 1,
			"in trouble: NATS can't be asked for the stream", []string{"nats-server", "--nats-url"}},
		{"Postgres is down", nil, func(_ *testing.T, o *troubled) { o.postgres.Refuse(true); o.postgres.Cut() }, 1,
			"in trouble: Postgres does not answer", []string{"--database-url"}},
		{"Postgres is read-only", nil, func(t *testing.T, o *troubled) {
			o.exec(t,
				`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
			o.postgres.Cut()
		}, 3, "in trouble: Postgres takes no writes", []string{"primary's address", "default_transaction_read_only"}},
		// To fill a disk takes a file system of its own; the server only says that it is full.
		{"the disk is full", nil, func(t *testing.T, o *troubled) {
			o.exec(t, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
				$$BEGIN RAISE EXCEPTION 'could not extend file "base/5/16384": No space left on device' USING ERRCODE = '53100'; END$$`)
			o.exec(t, `CREATE TRIGGER full_disk BEFORE INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION full_disk()`)
			o.publish(t, "contracts", name, 3)
		}, 3, "in trouble: Postgres has no room left", []string{"No space left on device", "make room"}},
		{"a misspelled property", nil, func(t *testing.T, o *troubled) {
			o.publish(t, "contracts", `{"nmae":"x"}`,
				5)
		}, 3,
			"idle: nothing waits; 5 dead events need a person: contracts, rejected", []string{"property nmae",
				"misspelled", "crmintake dead groups"}},
		{"a 403 of an object type", nil, func(t *testing.T, o *troubled) {
			o.answers(broken(403, "application/json",
				`{"status":"error","category":"MISSING_SCOPES","message":"This app hasn't been granted all required scopes: crm.objects.deals.write"}`))
			o.publish(t, "deals", name, 3)
		}, 3, "held: deals is paused: the CRM refuses such calls", []string{"403", "crm.objects.deals.write",
			"a scope of the credential", "crmintake resume deals"}},
		{"an HTML page, 502", nil, func(t *testing.T, o *troubled) {
			o.answers(broken(502, "text/html", "<html><h1>502 Bad Gateway</h1></html>"))
			o.publish(t, "contracts", name, 30)
		}, 3, "in trouble: the CRM answers with faults of its own", []string{"502", "status page",
			"goes on by itself"}},
		{"connections are refused", map[string]string{"HUBSPOT_URL": "http://127.0.0.1:1"}, func(t *testing.T,
			o *troubled) {
			o.publish(t, "contracts", name, 30)
		}, 3,
			"in trouble: the CRM can't be reached", []string{"connection refused", "--hubspot-url", "crmintake check"}},
		{"calls hang", nil, func(t *testing.T, o *troubled) {
			o.answers(func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
				case <-t.Context().Done():
				}
			})
			o.publish(t, "contracts", name, 3)
		}, 3, "in trouble: the CRM has not answered the oldest of 1 call", []string{"--call-timeout", "asked about"}},
		{"the stream is deleted", nil, func(t *testing.T, o *troubled) {
			if err := o.jetstream(t).DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
				t.Fatal(err)
			}
		}, 1, "in trouble: NATS can't be asked for the stream", []string{"the stream CRM_EVENTS does not exist",
			"crmintake init"}},
		{"somebody holds a lock", nil, func(t *testing.T, o *troubled) {
			o.lock(t)
			o.publish(t, "contracts", name, 3)
		}, 3, "in trouble: session", []string{"holds a lock", "pg_terminate_backend("}},
		{"the consumer is paused", nil, func(t *testing.T, o *troubled) {
			if _, err := o.jetstream(t).PauseConsumer(t.Context(), "CRM_EVENTS", "crmintake",
				time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			o.publish(t, "contracts", name, 3)
		}, 3, "held: somebody has paused the consumer crmintake of stream CRM_EVENTS in NATS",
			[]string{"nats consumer resume CRM_EVENTS crmintake"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newTroubled(t)
			for name, value := range c.env {
				setenv(t, "CRMINTAKE_"+name, value)
			}
			if c.name != "a misspelled property" {
				setenv(t, "CRMINTAKE_ID_PROPERTY", "contracts=event_id")
			}
			_, log, _ := running(t, "run")
			until(t, "the worker is there", func() bool {
				return strings.Contains(crmintake(t, "", "status").out,
					"1 alive")
			})
			begin := time.Now()
			c.begin(t, o)
			screen := ""
			for deadline := time.Now().Add(time.Minute); ; {
				if screen = shown(t, -1); strings.HasPrefix(screen, c.first) || time.Now().After(deadline) {
					break
				}
			}
			took := time.Since(begin)
			head, _, _ := strings.Cut(screen, "\n\n")
			flat := strings.Join(strings.Fields(screen), " ")
			if !strings.HasPrefix(screen, c.first) || strings.Count(screen, "\n") > 23 {
				t.Errorf("the screen is\n%s\nwant %s…; the log:\n%s", screen, c.first, log)
			}
			for _, want := range c.has {
				if !strings.Contains(flat, want) {
					t.Errorf("there is no %q on the screen:\n%s", want, screen)
				}
			}
			if screen = shown(t, c.code); !strings.HasPrefix(screen, c.first) {
				t.Errorf("a moment later the screen is\n%s", screen)
			}
			t.Logf("\n%s", screen)
			fmt.Fprintf(&table, "| %s | 1 | %.1f | %d |\n", c.name, took.Seconds(), len(strings.Fields(head)))
		})
	}
	t.Logf("\n| trouble | commands | seconds | words |\n|---|---|---|---|\n%s", &table)
}

// lock holds one on the table of events until the test ends.
func (o *troubled) lock(t testing.TB) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, sql := range []string{`BEGIN`, `LOCK TABLE event`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// A worker that is killed in the midst of a call is told of, with what it had in hand.
func TestKilledWorkerOnAScreen(t *testing.T) {
	t.Parallel()
	o := newTroubled(t)
	called := make(chan struct{}, 100)
	o.answers(func(_ http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
	})
	path, err := local.BuildWorker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := local.StartProcess(t.Context(), local.ProcessConfig{Path: path, Args: []string{"run"},
		Env: environmentIn(t).List()})
	if err != nil {
		t.Fatal(err)
	}
	o.publish(t, "contracts", `{"name":"x"}`, 3)
	<-called
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	screen := ""
	until(t, "its silence is noticed", func() bool {
		screen = shown(t, -1)
		return strings.HasPrefix(screen, "in trouble: no worker is there, and 3 events wait")
	})
	flat := strings.Join(strings.Fields(screen), " ")
	for _, want := range []string{"was killed or cut off in 1 call with 3 events", "is found out in",
		"nothing is lost or created twice", "crmintake run"} {
		if !strings.Contains(flat, want) {
			t.Errorf("there is no %q on the screen", want)
		}
	}
	t.Logf("\n%s", screen)
}
