package operator

import (
	"net/url"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
)

// What is in the way is seen in a database where it is.
func TestLook(t *testing.T) {
	t.Parallel()
	database := outboxtest.New(t)
	store, err := outbox.Open(t.Context(), database, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	o := New(store, Config{Name: "ann"})
	exec(t, store, `INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs)
SELECT gen_random_uuid(), 'create', 'deals', w, now() + interval '1 minute', '{a,b}', 2
  FROM unnest('{here,gone,gone}'::text[]) w`)
	exec(t, store,
		`INSERT INTO replay_job (state, allow_duplicate, events, replayed, ended_at)
  VALUES ('running', false, 10, 2, null), ('done', false, 0, 0, now())`)
	told := outbox.Told{At: time.Now(), Settings: map[string]string{"quota": "off"}}
	if err := store.Fleet.Heartbeat(t.Context(), "here", outbox.Capacity{Batch: 1}, told); err != nil {
		t.Fatal(err)
	}
	s, err := o.Look(t.Context())
	if err != nil || len(s.Lost) != 1 || s.Lost[0].Worker != "gone" || s.Lost[0].Calls != 2 ||
		s.Lost[0].Events != 4 || !s.Lost[0].Lease.After(s.At) {
		t.Errorf("%+v, %v", s.Lost, err)
	}
	if len(s.Replays) != 1 || s.Replays[0].Left != 8 || s.Workers[0].Told.Settings["quota"] != "off" || s.ReadOnly ||
		len(s.Locks) > 0 {
		t.Errorf("%+v", s)
	}

	// A lock on a table, and one on a row, while others wait for it.
	for name, c := range map[string]struct{ hold, want string }{
		"a table": {`LOCK TABLE event`, `SELECT count(*) FROM event`},
		"a row":   {`SELECT FROM worker FOR UPDATE`, `UPDATE worker SET batch_size = 2`},
	} {
		conn, err := store.Pool().Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do := func(sql string) {
			t.Helper()
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		do(`BEGIN`)
		do(c.hold)
		waited := make(chan error, 1)
		go func() {
			_, err := store.Pool().Exec(t.Context(), c.want)
			waited <- err
		}()
		var seen Status
		for deadline := time.Now().Add(time.Minute); len(seen.Locks) == 0; {
			if seen, err = o.Status(t.Context()); err != nil || time.Now().After(deadline) {
				t.Fatalf("%s: %+v, %v", name, seen, err)
			}
		}
		l := seen.Locks[0]
		if l.PID != int(conn.Conn().PgConn().PID()) || l.Program != "crmintake" || l.Waiting == 0 ||
			len(seen.Workers) != 1 {
			t.Errorf("%s: %+v", name, seen)
		}
		if name == "a table" && seen.Left != string(outbox.Locked) {
			t.Errorf("%s: it does not say that it counted nothing: %+v", name, seen)
		}
		do(`COMMIT`)
		conn.Release()
		if err := <-waited; err != nil {
			t.Error(err)
		}
	}

	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = "default_transaction_read_only=on"
	reads, err := outbox.Open(t.Context(), u.String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer reads.Close()
	if s, err := New(reads, Config{}).Status(t.Context()); err != nil || !s.ReadOnly {
		t.Errorf("%+v, %v", s, err)
	}
}
