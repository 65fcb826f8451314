package pipeline_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crmintake/deploy/local/proxy"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

const (
	fails = "the database fails; trying again until it works"
	works = "the database works again"
)

// The database refuses all that is written, for some time and in every way. The worker waits and goes on, and acks
// nothing that is not durable.
func TestDatabaseRefuses(t *testing.T) {
	t.Parallel()
	raises := func(code string) func(*testing.T, *rig) (*rig, func(), func()) {
		return func(t *testing.T, r *rig) (*rig, func(), func()) {
			a := r.admin()
			a.exec(fmt.Sprintf(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
				$$BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '%s'; END$$`, code))
			// One table after the other, or this and a worker's statement may each wait for the table that the other
			// has.
			return r, func() {
					a.exec(`CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON attempt FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
					a.exec(`CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON event FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
				}, func() {
					a.exec(`DROP TRIGGER refuse ON event`)
					a.exec(`DROP TRIGGER refuse ON attempt`)
				}
		}
	}
	for name, c := range map[string]struct {
		// prepare returns the rig for the workers, and what begins and ends the refusal.
		prepare func(*testing.T, *rig) (workers *rig, begin, end func())
		code    string // the SQLSTATE that the log tells; "" if connections end first
	}{
		// No way to fill a disk that needs no mount of a file system of its own, so the server only says so.
		"disk full":             {raises("53100"), "53100"},
		"serialization failure": {raises("40001"), "40001"},
		"statement timeout": {func(t *testing.T, r *rig) (*rig, func(), func()) {
			var unlock func()
			return r.through(setting("statement_timeout", "300")), func() { unlock = r.lock() }, func() { unlock() }
		}, "57014"},
		// The address leads to a server that is not the primary any more; then to one that is. Nobody ends the
		// connections.
		"failover to read only": {func(t *testing.T, r *rig) (*rig, func(), func()) {
			a := r.admin()
			alter := func(value string) {
				a.exec(fmt.Sprintf(`DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET default_transaction_read_only = %s', current_database()); END$$`, value))
			}
			return r, func() { alter("on"); a.terminate() }, func() { alter("off") }
		}, ""},
		"no connection left": {func(t *testing.T, r *rig) (*rig, func(), func()) {
			a := r.admin()
			role, workers := a.role()
			return workers, func() { a.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT 0`); a.terminate() },
				func() { a.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT -1`) }
		}, ""},
		"no connection gets through": {func(t *testing.T, r *rig) (*rig, func(), func()) {
			p, workers := r.behind(proxy.PostgresHooks{})
			return workers, func() { p.Refuse(true); p.Cut() }, func() { p.Refuse(false) }
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{MinLatency: 500 * time.Millisecond})
			const ackWait = 2 * time.Second
			r.remakeConsumer(ackWait)
			workers, begin, end := c.prepare(t, r)
			w := workers.start(config(), hubspot.StaticToken(token))
			r.publish(named("contracts", "a", 300)...)
			r.until(`SELECT count(*) FROM outbox`, "300")
			begin() // with calls under way, which are not committed then, as the intents for the others aren't
			r.publish(named("contracts", "b", 500)...)
			r.logged(fails)
			<-time.After(ackWait + time.Second) // nothing but time makes a stream deliver again, or a worker's patience end
			info := r.consumer()
			acked := 800 - int(info.NumPending) - info.NumAckPending
			if rows := r.rows(`SELECT count(*) FROM outbox`)[0]; rows != "300" || acked > 300 {
				t.Errorf("%d events are acked, and %s durable; want 300 at most, and 300", acked, rows)
			}
			end()
			r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 800")
			r.logged(works)
			w.stop()
			r.exactlyOnce("contracts", 800)
			r.loggedOnce(fails, works)
			if !strings.Contains(r.log.String(), c.code) {
				t.Errorf("the log does not tell of SQLSTATE %s:\n%s", c.code, r.log)
			}
			r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
		})
	}
}

// A table that is locked for a while is waited for, and nothing fails.
func TestTableLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	w := r.start(config(), hubspot.StaticToken(token))
	unlock, a := r.lock(), r.admin()
	r.publish(named("contracts", "c", 300)...)
	r.eventually("a worker waits", a.waiting)
	<-time.After(2 * time.Second)
	r.expect(`SELECT count(*) FROM outbox`, "0")
	unlock()
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 300")
	w.stop()
	r.exactlyOnce("contracts", 300)
	if strings.Contains(r.log.String(), fails) {
		t.Errorf("a wait is logged as a failure:\n%s", r.log)
	}
}

// Somebody else writes to the outbox in another order.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	// The worker looks for a deadlock once in a wait for a lock, after this time. We must wait by then, too.
	w := r.through(setting("deadlock_timeout", "5s")).start(config(), hubspot.StaticToken(token))
	a, watch := r.admin(), r.admin()
	// The worker finds the deadlock, and not we.
	a.exec(`SET deadlock_timeout = '1min'; BEGIN`)
	insert := func(id string) {
		a.exec(`INSERT INTO event (event_id, object_type, status, payload, content_hash, stream, stream_seq, reason, dead_at)
			VALUES ($1, 'contracts', 'dead', '', '', '', 0, 'rejected', now())`, id)
	}
	insert("c-9")
	r.publish(named("contracts", "c", 10)...)
	r.eventually("the worker waits for us, and not only for a moment", func() bool { return watch.waitingFor("1 s") })
	insert("c-0") // returns when the worker's transaction was ended for it
	a.exec(`ROLLBACK`)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 10")
	r.logged(works)
	w.stop()
	r.exactlyOnce("contracts", 10)
	r.loggedOnce(fails, works, "40P01")
}

// A stricter isolation level than is needed is not what the workers have: no transaction is refused, where three share
// a quota.
func TestStricterIsolation(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hubspottest.Config{MinLatency: 20 * time.Millisecond})
			a := r.admin()
			a.exec(fmt.Sprintf(`
DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET default_transaction_isolation = %q', current_database()); END$$`, level))
			cfg := config()
			cfg.Quota = pipeline.Quota{Calls: 1000, Window: time.Second}
			cfg.Batch.Size = 5
			var workers []*running
			for _, cfg.Name = range []string{"one", "two", "three"} {
				workers = append(workers, r.start(cfg, hubspot.StaticToken(token)))
			}
			r.publish(named("contracts", "a", 1500)...)
			r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 1500")
			for _, w := range workers {
				w.stop()
			}
			r.exactlyOnce("contracts", 1500)
			if strings.Contains(r.log.String(), fails) || strings.Contains(r.log.String(), "40001") {
				t.Errorf("transactions were refused:\n%s", r.log)
			}
		})
	}
}

// Behind a pooler that gives each transaction another session, with fewer of them than the workers have connections,
// all goes on as without.
func TestBehindAPooler(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{
		hubspottest.WholeBatch: 0.1, hubspottest.BreakAfter: 0.1, hubspottest.Answer503: 0.1,
	}})
	pooled := outboxtest.Pooled(t, r.database, map[string]string{"default_pool_size": "5"})
	cfg := config()
	cfg.Quota = pipeline.Quota{Calls: 1000, Window: time.Second}
	cfg.Batch.Size = 20
	var workers []*running
	for _, cfg.Name = range []string{"one", "two", "three"} {
		one := r.through(func(u *url.URL) { *u = *mustParse(t, pooled) })
		workers = append(workers, one.start(cfg, hubspot.StaticToken(token)))
	}
	r.publish(named("contracts", "c", 3000)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 3000")
	for _, w := range workers {
		w.stop()
	}
	r.exactlyOnce("contracts", 3000)
	if strings.Contains(r.log.String(), fails) {
		t.Errorf("the database was taken for failing:\n%s", r.log)
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A worker that gets fewer connections than it wants makes do with them.
func TestFewerConnectionsThanWanted(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{})
	a := r.admin()
	role, workers := a.role()
	a.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT 1`)
	r.publish(named("contracts", "c", 2000)...)
	workers.drain(config())
	r.exactlyOnce("contracts", 2000)
	if !strings.Contains(r.log.String(), "53300") {
		t.Errorf("there were connections enough:\n%s", r.log)
	}
}

// Connections break at every statement that changes what becomes of events, when it has left and before its answer
// comes.
func TestConnectionsBreakAtEveryStatement(t *testing.T) {
	t.Parallel()
	r := newRig(t, hubspottest.Config{Rates: map[hubspottest.Fault]float64{
		hubspottest.WholeBatch: 0.2, hubspottest.BreakAfter: 0.1, hubspottest.Answer503: 0.1,
	}})
	b := &breaks{met: map[string]int{}}
	_, workers := r.behind(proxy.PostgresHooks{
		Statement: func(sql string) bool { return b.passes("before ", []string{sql}) },
		Answer:    func(sql []string) bool { return b.passes("after ", sql) },
	})
	contracts, deals := named("contracts", "c", 1000), named("deals", "d", 1000)
	for k := 0; k < 1000; k += 50 {
		contracts[k].body = `{"properties":{"nmae":"misspelled"}}`
	}
	r.publish(contracts...)
	r.publish(deals...)
	r.publish(message{"contracts", "invalid", "not JSON"})
	cfg := config()
	cfg.Batch.Size = 20
	workers.drain(cfg)

	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if b.met["before "+name] == 0 || b.met["after "+name] == 0 {
			t.Errorf("%s was broken %d times before it was done and %d times after; want both", name, b.met["before "+name], b.met["after "+name])
		}
	}
	r.expect(`SELECT count(*) FROM outbox`, "2001")
	r.expect(`SELECT object_type, status, reason, count(*) FROM outbox WHERE object_type = 'contracts' GROUP BY 1, 2, 3 ORDER BY 2, 3`,
		"contracts created <nil> 980", "contracts dead invalid_event 1", "contracts dead rejected 20")
	r.expect(`SELECT count(*) FROM outbox WHERE object_type = 'deals' AND status <> 'created' AND (status <> 'dead' OR reason <> 'unknown_outcome')`, "0")
	r.expect(`SELECT count(*) FROM attempt WHERE closed_at IS NULL OR state = 'expired'`, "0")
	if n := r.crm.Len("contracts"); n != 980 {
		t.Errorf("%d contracts, want 980", n)
	}
	records := r.crm.Count("deals", "name")
	for _, row := range r.rows(`SELECT event_id, status FROM outbox WHERE object_type = 'deals'`) {
		id, status, _ := strings.Cut(row, " ")
		if n := records[id]; n > 1 || n == 0 && status == "created" {
			t.Errorf("%s is %s and has %d records", id, status, n)
		}
	}
}

// kinds tells the statements apart, each by some words of it.
var kinds = map[string]string{
	"intent": `INSERT INTO event (event_id, object_type, content_hash`,
	"settle": `UPDATE attempt a SET state = 'settled'`,
	"claim":  `opened AS (`,
	"park":   `ended AS (`,
	"split":  `moved AS (`,
	"renew":  `UPDATE attempt SET lease_until`,
	"bury":   `WITH dead AS (`,
}

// breaks says which connections break, and counts it.
type breaks struct {
	mu    sync.Mutex
	count int
	met   map[string]int
}

// passes lets each kind of statement break once before it is done and once after, and then one statement of so many.
func (b *breaks) passes(moment string, statements []string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, words := range kinds {
		if !slices.ContainsFunc(statements, func(sql string) bool { return strings.Contains(sql, words) }) {
			continue
		}
		b.count++
		if b.met[moment+name] == 0 || b.count%37 == 0 {
			b.met[moment+name]++
			return false
		}
	}
	return true
}

// behind puts a proxy between the workers and the database.
func (r *rig) behind(hooks proxy.PostgresHooks) (*proxy.Proxy, *rig) {
	r.t.Helper()
	u, err := url.Parse(r.database)
	r.must(err)
	p, err := proxy.StartPostgres(u.Host, hooks)
	r.must(err)
	r.t.Cleanup(p.Close)
	return p, r.through(func(u *url.URL) { u.Host = p.Addr() })
}

// role makes a role for workers, whose connections the server counts, as it does not a superuser's.
func (a admin) role() (name string, workers *rig) {
	a.r.t.Helper()
	name, password := "worker_"+strings.ToLower(rand.Text()), rand.Text()
	a.exec(`CREATE ROLE ` + name + ` LOGIN PASSWORD '` + password + `'; GRANT ALL ON ALL TABLES IN SCHEMA public TO ` + name)
	a.r.t.Cleanup(func() {
		if _, err := a.conn.Exec(context.Background(), `DROP OWNED BY `+name+`; DROP ROLE `+name); err != nil {
			a.r.t.Error(err)
		}
	})
	return name, a.r.through(func(u *url.URL) { u.User = url.UserPassword(name, password) })
}
