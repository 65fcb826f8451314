package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// restored is a fleet whose database was put back to an older state: 20 contracts, which have an id property, and 20
// deals, which have none, wait in retry, though all of them were created since.
type restored struct {
	fixture
	since time.Time // when the backup was made
}

const lostEvents = 20

func newRestored(t *testing.T) restored {
	t.Helper()
	server, _ := startNATS(t)
	crm, err := hubspottest.Start(hubspottest.Config{Token: secret, ObjectTypes: map[string]hubspottest.ObjectType{
		"contracts": {Properties: []string{"name"}, Unique: []string{"event_id"}},
		"deals":     {Properties: []string{"name"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crm.Close)
	r := restored{fixture: fixture{nats: server, crm: crm, database: outboxtest.New(t)}}
	for name, value := range map[string]string{
		"NATS_URL": server.URL(), "DATABASE_URL": r.database, "HUBSPOT_URL": crm.URL, "HUBSPOT_TOKEN": secret,
		"ID_PROPERTY": "contracts=event_id", "BATCH_WAIT": "50ms", "AS": "ann", "SETTLE": "100ms", "RETRY_INITIAL": "1h",
	} {
		setenv(t, "CRMINTAKE_"+name, value)
	}
	crmintake(t, "", "init").want(t, 0)
	for _, objectType := range []string{"contracts", "deals"} {
		var b strings.Builder
		for n := range lostEvents {
			fmt.Fprintf(&b, `{"properties":{"name":"%s-%d"}}`+"\n", objectType, n)
		}
		crmintake(t, b.String(), "publish", "--object-type", objectType, "-").want(t, 0)
		waiting := r.count(t, "retry")
		crm.Script(hubspottest.Answer503)
		_, _, stop := running(t, "run")
		until(t, "the events wait", func() bool { return r.count(t, "retry") == waiting+lostEvents })
		stop()
		r.exec(t, `UPDATE event SET next_attempt_at = now() + interval '1 hour'`)
	}
	r.exec(t, `UPDATE event SET next_attempt_at = now()`)
	backup := r.copy(t)
	r.since = time.Now()
	crmintake(t, "", "run", "--drain").want(t, 0)
	if n, m := crm.Len("contracts"), crm.Len("deals"); n != lostEvents || m != lostEvents {
		t.Fatalf("%d contracts and %d deals", n, m)
	}
	setenv(t, "CRMINTAKE_DATABASE_URL", backup)
	r.database = backup
	return r
}

// copy makes a database as it is now.
func (r restored) copy(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(r.database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	admin := u.String()
	exec := func(ctx context.Context, sql string) {
		conn, err := pgx.Connect(ctx, admin)
		if err == nil {
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, sql)
		}
		if err != nil {
			t.Error(err)
		}
	}
	until(t, "nobody is connected", func() bool {
		conn, err := pgx.Connect(t.Context(), admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var n int
		err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = $1`, name).Scan(&n)
		return err == nil && n == 0
	})
	exec(t.Context(), `CREATE DATABASE `+name+`_backup TEMPLATE `+name)
	t.Cleanup(func() { exec(context.Background(), `DROP DATABASE `+name+`_backup WITH (FORCE)`) })
	u.Path = "/" + name + "_backup"
	return u.String()
}

func (r restored) count(t *testing.T, status string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), r.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE status = $1`, status).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// stand tells how many events of a type are in each status, and dead for which reason.
func (r restored) stand(t *testing.T) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), r.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `
SELECT concat_ws(' ', object_type, status, reason, count(*)) FROM outbox
GROUP BY object_type, status, reason ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, ", ")
}

// What waited in a backup is asked about before it is sent, or parked where nothing tells: no record is made twice, and
// none is denied.
func TestDoubtAfterARestore(t *testing.T) {
	t.Parallel()
	r := newRestored(t)
	doubt := []string{"outbox", "doubt", "--since", r.since.Format(time.RFC3339Nano), "--reason",
		"the backup was restored"}
	with := func(args ...string) []string { return append(doubt[:len(doubt):len(doubt)], args...) }
	crmintake(t, "", "outbox", "doubt", "--reason", "x").want(t, 2, "--since")
	crmintake(t, "", "outbox", "doubt", "--since", "1h").want(t, 2, "--reason")
	crmintake(t, "", with("nobody")...).want(t, 2, "nobody")
	crmintake(t, "", with("--dry-run")...).want(t, 0, "what came after it, and what became of it, is not here",
		"40 events:",
		"20 events  contracts retry, to be asked about by event_id", "20 events  deals retry, nothing to ask by: parked, "+
			"or sent again and marked")
	crmintakeFrom(t, t.Context(), at("n\n"), doubt...).want(t, 1, "put 40 events in doubt? [y/N]", "nothing was changed")
	if got := r.count(t, "retry"); got != 2*lostEvents {
		t.Errorf("%d rows in retry though nothing was done", got)
	}
	var v doubtView
	crmintake(t, "", with("--yes", "--output", "json")...).json(t, &v)
	if v.Result == nil || v.Result.Done != 2*lostEvents || v.Plan.TotalEvents != 2*lostEvents {
		t.Errorf("%+v", v)
	}
	crmintake(t, "", "audit").want(t, 0, "doubt", "the backup was restored")
	crmintake(t, "", "run", "--drain").want(t, 0)
	if got, want := r.stand(t), "contracts created 20, deals dead unknown_outcome 20"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n, m := r.crm.Len("contracts"), r.crm.Len("deals"); n != lostEvents || m != lostEvents {
		t.Errorf("%d contracts and %d deals, want %d each", n, m, lostEvents)
	}
}

// Workers that ran first sent again without asking: what is a conflict with itself by now is found all the same.
func TestDoubtTooLate(t *testing.T) {
	t.Parallel()
	r := newRestored(t)
	crmintake(t, "", "run", "--drain").want(t, 0)
	if got, want := r.stand(t), "contracts dead conflict 20, deals created 20"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	crmintake(t, "", "outbox", "doubt", "--since", r.since.Format(time.RFC3339Nano), "--reason", "too late", "--dead",
		"--yes").want(t, 0,
		"workers ran on it since", "20 events  contracts dead, to be asked about by event_id", "Done to 20 events",
		"asks about it first")
	crmintake(t, "", "dead", "replay", "--dead-reason", "unknown_outcome", "--yes").want(t, 0,
		"20 may have a record already, and are asked about first")
	crmintake(t, "", "run", "--drain").want(t, 0)
	if got, want := r.stand(t), "contracts created 20, deals created 20"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := r.crm.Len("contracts"); n != lostEvents {
		t.Errorf("%d contracts, want %d", n, lostEvents)
	}
}

// What has no row in the backup comes again, and may have a record: it is asked about first, or parked, up to a time,
// and nothing after it.
func TestDoubtNew(t *testing.T) {
	t.Parallel()
	r := newRestored(t)
	var ids []string // of the contracts
	for seq := range lostEvents {
		ids = append(ids, idAt(t, seq+1))
	}
	r.exec(t, `DELETE FROM event`) // as in a backup of before they came
	doubt := []string{"outbox", "doubt", "--since", r.since.Format(time.RFC3339Nano), "--reason",
		"the backup was restored", "--yes"}
	until := time.Now().Add(time.Hour)
	crmintake(t, "", append(doubt, "--new-until", until.Format(time.RFC3339), "--dry-run")...).want(t, 0, "as they come")
	crmintake(t, "", "audit").want(t, 0, "Nothing was done by hand.")
	crmintake(t, "", append(doubt, "--new-until", until.Format(time.RFC3339))...).want(t, 0, "as they come")
	crmintake(t, "", "audit").want(t, 0, "doubt by ann", "new_until", "the backup was restored")
	var again strings.Builder
	for k, id := range append(ids, "never sent", "nor this") {
		fmt.Fprintf(&again, `{"properties":{"name":"contracts-%d","event_id":"%s"}}`+"\n", k, id)
	}
	crmintake(t, again.String(), "publish", "--object-type", "contracts", "--id-field", "event_id", "-").want(t, 0)
	crmintake(t, `{"properties":{"name":"x"}}`, "publish", "--object-type", "deals", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0, "asked about before they are sent")
	if got, want := r.stand(t), "contracts created 22, deals dead unknown_outcome 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n, m := r.crm.Len("contracts"), r.crm.Len("deals"); n != lostEvents+2 || m != lostEvents {
		t.Errorf("%d contracts and %d deals", n, m)
	}
	crmintake(t, "", append(doubt, "--new-until", "1h")...).want(t, 0)
	crmintake(t, `{"properties":{"name":"y"}}`, "publish", "--object-type", "deals", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	if n := r.crm.Len("deals"); n != lostEvents+1 {
		t.Errorf("%d deals, though it was ended", n)
	}
}
