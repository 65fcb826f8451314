package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/jetstream"
)

// site is what stays over all runs: Postgres, the worker's program, and a place for files.
type site struct {
	dir      string
	worker   string
	postgres *pgcluster.Cluster
	rounds   int
	stops    []func() error
}

func openSite(ctx context.Context, say func(string)) (s *site, err error) {
	s = &site{}
	dir, remove, err := local.TempDir("crmintake-bench-")
	if err != nil {
		return nil, err
	}
	s.dir = dir
	s.stops = append(s.stops, remove)
	say("building the worker")
	if s.worker, err = local.BuildWorker(ctx, s.dir); err == nil {
		say("starting Postgres")
		s.postgres, err = pgcluster.Start(ctx, pgcluster.Config{Durable: true})
	}
	if err != nil {
		_ = s.close()
		return nil, err
	}
	s.stops = append(s.stops, s.postgres.Stop)
	return s, nil
}

func (s *site) close() (err error) {
	for n := len(s.stops) - 1; n >= 0; n-- {
		if e := s.stops[n](); err == nil {
			err = e
		}
	}
	return err
}

// figures are those of one run.
type figures struct {
	EventsPerSecond float64 `json:"events_per_second"`
	CPU             float64 `json:"cpu_us_per_event"` // of the worker, user and system
	PeakMemory      float64 `json:"peak_memory_mb"`
	AnonymousMemory float64 `json:"anonymous_memory_mb"` // the most that was not pages of its file
	PostgresCPU     float64 `json:"postgres_cpu_us_per_event"`
	NATSCPU         float64 `json:"nats_cpu_us_per_event"`
	CRMCPU          float64 `json:"crm_cpu_us_per_event"`
	WAL             float64 `json:"wal_bytes_per_event"`
	RowUpdates      float64 `json:"row_updates_per_event"`
	HOTShare        float64 `json:"hot_share"` // of the updates of rows; 1 if there was none
	RecordsPerCall  float64 `json:"records_per_call"`
}

// system is something that is measured.
type system struct {
	name string
	// run starts the system and returns when all events are done, the process that it was, and the time of the last
	// commit.
	run func(ctx context.Context, r *round) (p *local.Process, end time.Time, err error)
	// has tells that it has an outbox to ask about HOT and calls.
	has bool
}

// round is one run's own parts: a stream full of events, a database, an empty CRM.
type round struct {
	*site
	nats, crm *part
	database  string
	conn      *pgx.Conn
	events    int       // published
	begin     time.Time // of the measurement
	profile   string    // where the worker leaves its profiles; "" for nowhere
}

// measure runs a system on a round of its own.
func (s *site) measure(ctx context.Context, sys system, n, events int, profile string) (f figures, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the parts
	name := fmt.Sprintf("bench_%s_%d", sys.name, n)
	if err := s.createDatabase(ctx, name); err != nil {
		return f, err
	}
	r, err := s.open(ctx, name)
	if err != nil {
		return f, err
	}
	defer r.close(ctx)
	if profile != "" && sys.has {
		r.profile = filepath.Join(profile, fmt.Sprintf("run-%d", n+1))
	}
	if err := r.publish(ctx, events, numbered); err != nil {
		return f, err
	}
	return r.measure(ctx, sys)
}

// measure lets a system do what was published.
func (r *round) measure(ctx context.Context, sys system) (f figures, err error) {
	// What the runs before have left to write is not this one's.
	if _, err := r.conn.Exec(ctx, `CHECKPOINT`); err != nil {
		return f, err
	}
	lsn := func() (bytes int64, err error) {
		err = r.conn.QueryRow(ctx, `SELECT pg_current_wal_lsn() - '0/0'::pg_lsn`).Scan(&bytes)
		return bytes, err
	}
	wal, err := lsn()
	if err != nil {
		return f, err
	}
	postgres, natsCPU, crmCPU := r.postgres.CPUTime(), r.nats.CPUTime(), r.crm.CPUTime()
	r.begin = time.Now()
	p, end, err := sys.run(ctx, r)
	if err != nil {
		return f, fmt.Errorf("%s: %w", sys.name, err)
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(r.events) }
	f.EventsPerSecond = float64(r.events) / end.Sub(r.begin).Seconds()
	f.CPU, f.PeakMemory, f.AnonymousMemory = per(p.CPUTime()), mebibytes(p.PeakMemory()), mebibytes(p.PeakAnonymous())
	f.PostgresCPU, f.NATSCPU, f.CRMCPU = per(r.postgres.CPUTime()-postgres), per(r.nats.CPUTime()-natsCPU),
		per(r.crm.CPUTime()-crmCPU)
	after, err := lsn()
	if err != nil {
		return f, err
	}
	f.WAL = float64(after-wal) / float64(r.events)
	if sys.has {
		if err := r.reported(ctx); err != nil {
			return f, err
		}
		err = r.conn.QueryRow(ctx, `
SELECT coalesce((SELECT n_tup_hot_upd::float8 / nullif(n_tup_upd, 0) FROM pg_stat_user_tables
  WHERE relname = 'event'), 1),
  coalesce((SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'event'), 0),
  coalesce((SELECT sum(created)::float8 / count(*) FROM attempt WHERE kind = 'create'
    AND started_at >= $1), 0)`, r.begin).
			Scan(&f.HOTShare, &f.RowUpdates, &f.RecordsPerCall)
		f.RowUpdates /= float64(r.events)
	}
	return f, err
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func (s *site) createDatabase(ctx context.Context, name string) error {
	return s.admin(ctx, "CREATE DATABASE "+name)
}

// admin does what is done outside of the databases.
func (s *site) admin(ctx context.Context, sql string) error {
	admin, err := pgx.Connect(ctx, s.postgres.URL("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	_, err = admin.Exec(ctx, sql)
	return err
}

// open starts a round's parts, which end with ctx, and makes its tables in a database. More flags are the CRM's.
func (s *site) open(ctx context.Context, database string, crm ...string) (r *round, err error) {
	r = &round{site: s, database: s.postgres.URL(database)}
	s.rounds++
	if r.nats, err = startPart(ctx, "part-nats", "--dir", filepath.Join(s.dir, fmt.Sprintf("nats-%d",
		s.rounds))); err != nil {
		return nil, err
	}
	if r.crm, err = startPart(ctx, append([]string{"part-crm"}, crm...)...); err != nil {
		return nil, err
	}
	if err := r.command(ctx, "init"); err != nil {
		return nil, err
	}
	if r.conn, err = pgx.Connect(ctx, r.database); err != nil {
		return nil, err
	}
	return r, nil
}

// close ends what does not end with the context. The events are gone then.
func (r *round) close(ctx context.Context) {
	_ = r.conn.Close(context.WithoutCancel(ctx))
	for _, p := range []*part{r.nats, r.crm} {
		_ = p.Kill()
		_ = p.Wait()
	}
}

// command runs a command of the program that ends by itself.
func (r *round) command(ctx context.Context, args ...string) error {
	p, err := r.start(ctx, nil, args...)
	if err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("crmintake %s: %w\n%s", args[0], err, p.LogEnd())
	}
	return nil
}

func (r *round) start(ctx context.Context, log io.Writer, args ...string) (*local.Process, error) {
	return local.StartProcess(ctx, local.ProcessConfig{Path: r.worker, Args: args, Env: r.env(), Stderr: log})
}

func (r *round) env() []string {
	return append(os.Environ(), "CRMINTAKE_NATS_URL="+r.nats.url, "CRMINTAKE_DATABASE_URL="+r.database,
		"CRMINTAKE_HUBSPOT_URL="+r.crm.url, "CRMINTAKE_HUBSPOT_TOKEN="+token, "CRMINTAKE_ADMIN_ADDR=127.0.0.1:0")
}

// event is the n-th body, of about 300 bytes with its headers. It has the value of the id property, so that the floor's
// calls are the same.
func event(n int, id string) []byte {
	return fmt.Appendf(nil, `{"properties":{"contract_name":"Contract %d","%s":"%s","amount":"%d.50","currency":"EUR",`+
		`"start_date":"2026-01-01","end_date":"2026-12-31","status":"signed","note":"Signed by both parties and filed."},"associations":[]}`,
		n, idProperty, id, n)
}

// numbered is the id of the n-th event.
func numbered(n int) string { return fmt.Sprintf("event-%09d", n) }

// publish puts events into the stream as fast as it goes.
func (r *round) publish(ctx context.Context, events int, id func(n int) string) error {
	return r.withPublisher(ctx, func(p *jetstream.Publisher) error {
		for n := range events {
			if err := r.publishOne(ctx, p, n, id(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *round) publishOne(ctx context.Context, p *jetstream.Publisher, n int, id string) error {
	r.events++
	return p.Publish(ctx, jetstream.Message{Subject: subject, ID: id, Data: event(n, id), Line: n + 1})
}

// withPublisher returns when all that do published is confirmed.
func (r *round) withPublisher(ctx context.Context, do func(*jetstream.Publisher) error) error {
	nc, err := nats.Connect(r.nats.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	p, err := jetstream.OpenPublisher(ctx, nc, jetstream.PublisherConfig{})
	if err != nil {
		return err
	}
	defer p.Close()
	if err := do(p); err != nil {
		return err
	}
	return p.Flush(ctx)
}

// reported returns when all other sessions on the database have ended. Only then has each reported what it did to the
// tables.
func (r *round) reported(ctx context.Context) error {
	for {
		var others int
		err := r.conn.QueryRow(ctx, `
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil || others == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
