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
	PostgresCPU     float64 `json:"postgres_cpu_us_per_event"`
	NATSCPU         float64 `json:"nats_cpu_us_per_event"`
	CRMCPU          float64 `json:"crm_cpu_us_per_event"`
	WAL             float64 `json:"wal_bytes_per_event"`
	HOTShare        float64 `json:"hot_share"`
	RecordsPerCall  float64 `json:"records_per_call"`
}

// system is something that is measured.
type system struct {
	name string
	// run starts the system and returns when all events are done, the process that it was, and the time of the last commit.
	run func(ctx context.Context, r *round) (p *local.Process, end time.Time, err error)
	// has tells that it has an outbox to ask about HOT and calls.
	has bool
}

// round is one run's own parts: a stream full of events, an empty database, an empty CRM.
type round struct {
	*site
	events    int
	nats, crm *part
	database  string
	conn      *pgx.Conn
}

func (s *site) measure(ctx context.Context, sys system, n, events int) (f figures, err error) {
	r := &round{site: s, events: events}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the parts
	if err := r.prepare(ctx, fmt.Sprintf("bench_%s_%d", sys.name, n)); err != nil {
		return f, err
	}
	defer r.conn.Close(context.WithoutCancel(ctx))

	lsn := func() (bytes int64, err error) {
		err = r.conn.QueryRow(ctx, `SELECT pg_current_wal_lsn() - '0/0'::pg_lsn`).Scan(&bytes)
		return bytes, err
	}
	wal, err := lsn()
	if err != nil {
		return f, err
	}
	postgres, natsCPU, crmCPU := s.postgres.CPUTime(), r.nats.CPUTime(), r.crm.CPUTime()
	begin := time.Now()
	p, end, err := sys.run(ctx, r)
	if err != nil {
		return f, fmt.Errorf("%s: %w", sys.name, err)
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(events) }
	f.EventsPerSecond = float64(events) / end.Sub(begin).Seconds()
	f.CPU, f.PeakMemory = per(p.CPUTime()), float64(p.PeakMemory())/(1<<20)
	f.PostgresCPU, f.NATSCPU, f.CRMCPU = per(s.postgres.CPUTime()-postgres), per(r.nats.CPUTime()-natsCPU), per(r.crm.CPUTime()-crmCPU)
	after, err := lsn()
	if err != nil {
		return f, err
	}
	f.WAL = float64(after-wal) / float64(events)
	if sys.has {
		err = r.conn.QueryRow(ctx, `
SELECT coalesce((SELECT n_tup_hot_upd::float8 / nullif(n_tup_upd, 0) FROM pg_stat_user_tables WHERE relname = 'outbox'), 0),
  coalesce((SELECT sum(created)::float8 / count(*) FROM attempt WHERE kind = 'create'), 0)`).Scan(&f.HOTShare, &f.RecordsPerCall)
	}
	return f, err
}

// prepare starts the round's parts and publishes its events.
func (r *round) prepare(ctx context.Context, name string) (err error) {
	if r.nats, err = startPart(ctx, "part-nats", "--dir", filepath.Join(r.dir, name)); err != nil {
		return err
	}
	if r.crm, err = startPart(ctx, "part-crm"); err != nil {
		return err
	}
	admin, err := pgx.Connect(ctx, r.postgres.URL("postgres"))
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	r.database = r.postgres.URL(name)
	init, err := r.start(ctx, nil, "init")
	if err != nil {
		return err
	}
	if err := init.Wait(); err != nil {
		return fmt.Errorf("crmintake init: %w\n%s", err, init.LogEnd())
	}
	if r.conn, err = pgx.Connect(ctx, r.database); err != nil {
		return err
	}
	if err := r.publish(ctx); err != nil {
		return err
	}
	// What the runs before have left to write is not this one's.
	_, err = r.conn.Exec(ctx, `CHECKPOINT`)
	return err
}

func (r *round) start(ctx context.Context, log io.Writer, args ...string) (*local.Process, error) {
	return local.StartProcess(ctx, local.ProcessConfig{Path: r.worker, Args: args, Env: r.env(), Stderr: log})
}

func (r *round) env() []string {
	return append(os.Environ(), "CRMINTAKE_NATS_URL="+r.nats.url, "CRMINTAKE_DATABASE_URL="+r.database,
		"CRMINTAKE_HUBSPOT_URL="+r.crm.url, "CRMINTAKE_HUBSPOT_TOKEN="+token)
}

// event is the n-th body, of about 300 bytes with its headers.
func event(n int) []byte {
	return fmt.Appendf(nil, `{"properties":{"contract_name":"Contract %d","contract_number":"C-%09d","amount":"%d.50","currency":"EUR",`+
		`"start_date":"2026-01-01","end_date":"2026-12-31","status":"signed","note":"Signed by both parties and filed."},"associations":[]}`, n, n, n)
}

func (r *round) publish(ctx context.Context) error {
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
	for n := range r.events {
		if err := p.Publish(ctx, jetstream.Message{Subject: subject, ID: fmt.Sprintf("event-%09d", n), Data: event(n), Line: n + 1}); err != nil {
			return err
		}
	}
	return p.Flush(ctx)
}
