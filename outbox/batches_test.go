package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"crmintake/outbox/internal/pgwire"
	"crmintake/outbox/outboxtest"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	s := open(t)
	texts := []string{"", "a", "é,{}\"\\ ", "NULL"}
	ids := []uuid.UUID{NewAttemptID(), NewAttemptID()}
	for _, c := range []struct {
		of   string
		p    pgwire.Param
		want string
	}{
		{"text[]", pgwire.TextArray(len(texts), func(i int) string { return texts[i] }), `["", "a", "é,{}\"\\ ", "NULL"]`},
		{"text[]", pgwire.NullableTextArray(len(texts), func(i int) string { return texts[i] }), `[null, "a", "é,{}\"\\ ", "NULL"]`},
		{"text[]", pgwire.TextArray(0, nil), `[]`},
		{"bytea[]", pgwire.ByteaArray(3, func(i int) []byte { return [][]byte{nil, {}, {0, 255}}[i] }), `["\\x", "\\x", "\\x00ff"]`},
		{"bytea[]", pgwire.NullableByteaArray(3, func(i int) []byte { return [][]byte{nil, {}, {0, 255}}[i] }), `[null, "\\x", "\\x00ff"]`},
		{"uuid", pgwire.UUID(ids[1]), `"` + ids[1].String() + `"`},
		{"uuid[]", pgwire.UUIDArray(2, func(i int) uuid.UUID { return ids[i] }), `["` + ids[0].String() + `", "` + ids[1].String() + `"]`},
		{"int4[]", pgwire.Int4Array(3, func(i int) int { return i - 1 }), `[-1, 0, 1]`},
		{"int8[]", pgwire.Int8Array(2, func(i int) uint64 { return uint64(i) << 40 }), `[0, 1099511627776]`},
		{"bool[]", pgwire.BoolArray(2, func(i int) bool { return i == 1 }), `[false, true]`},
		{"interval[]", pgwire.IntervalArray(3, func(i int) time.Duration { return time.Duration(i-1) * 3723004005 * time.Microsecond }),
			`["-01:02:03.004005", "00:00:00", "01:02:03.004005"]`},
	} {
		var got []string
		ok(t, s.Batches.pipeline(t.Context(), pgwire.Statement{SQL: `SELECT to_jsonb($1::` + c.of + `)::text`, Params: []pgwire.Param{c.p}, Row: func(values [][]byte) error {
			got = append(got, string(values[0]))
			return nil
		}}))
		if diff := cmp.Diff([]string{c.want}, got); diff != "" {
			t.Errorf("%s: %s", c.of, diff)
		}
	}
}

// A pipeline that nobody waits for any longer ends at once, and so does the server's work on it: a lock that somebody
// holds would have sessions pile up.
func TestPipelineEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := openAt(t, outboxtest.New(t), 1)
	direct := openAt(t, s.pool.Config().ConnString(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Batches.pipeline(ctx, pgwire.Statement{SQL: `SELECT pg_sleep(600)`, Row: func([][]byte) error { return nil }})
	}()
	for works := false; !works; {
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		default:
			ok(t, direct.pool.QueryRow(t.Context(), `
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')`).Scan(&works))
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	intend(t, s, "a") // has to wait for the only place in the pool
	want(t, direct, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`, "0")
}

// The server looks whether we are there: what stops in the middle of a pipeline would leave it waiting with locks.
func TestServerLooksForUs(t *testing.T) {
	t.Parallel()
	s := openAt(t, outboxtest.New(t), 1)
	want(t, s, `SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count')`, "10 5 3")
}

// A statement that fails undoes those before it, and the connection goes on.
func TestPipelineIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := openAt(t, outboxtest.New(t), 1)
	var pid []string
	session := pgwire.Statement{SQL: `SELECT pg_backend_pid()`, Row: func(values [][]byte) error {
		pid = append(pid, string(values[0]))
		return nil
	}}
	insert := pgwire.Statement{SQL: `INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs) VALUES ($1, 'create', 'x', 'x', now(), '{a}', 1)`,
		Params: []pgwire.Param{pgwire.UUID(NewAttemptID())}}
	err := s.Batches.pipeline(t.Context(), session, insert, insert, session)
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != uniqueViolation {
		t.Errorf("got %v", err)
	}
	want(t, s, `SELECT count(*) FROM attempt`, "0")
	refused := session
	refused.Row = func([][]byte) error { return errors.New("refused") }
	if err := s.Batches.pipeline(t.Context(), refused, insert); err == nil || err.Error() != "refused" {
		t.Errorf("got %v", err)
	}
	ok(t, s.Batches.pipeline(t.Context(), session))
	if len(pid) != 2 || pid[0] != pid[1] {
		t.Errorf("sessions %q", pid)
	}
}
