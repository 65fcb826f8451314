package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"crmintake/migrations"
)

const (
	loadChunk = 500_000 // rows in a statement
	rowOnDisk = 1 << 10 // with its part of indexes, log and sorting: half of it stays
)

// v7 is a UUID of version 7 of the time at and the number n.
const v7 = `(lpad(to_hex((extract(epoch FROM at) * 1000)::int8), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid`

// Rows lie in the table in the order of their time, as inserts leave them, in pages as full as fillfactor lets them be:
// those of a table that is vacuumed now and then, and so used to the full. They are from 30 days to one day old. Their
// calls were of a hundred each: created rows are compact.
const loadRows = `
WITH numbered AS (
  SELECT n, (n - 1) / 100 AS call, now() - interval '30 days' + interval '29 days' * (n::float8 / $3::int8) AS at,
    n %% ($3::int8 / $4::int8) = 0 AS dead
  FROM generate_series($1::int8, $2::int8) n),
called AS MATERIALIZED (
  SELECT call, at AS ended, ` + v7 + ` AS id FROM (SELECT call, call AS n, max(at) AS at FROM numbered
    GROUP BY call) c),
loaded AS (
  INSERT INTO event (event_id, object_type, status, nth, content_hash, payload, reason, error, dead_at, fingerprint,
    attempts, attempt_id, stream, stream_seq, received_at, updated_at)
  SELECT %s, 'contracts', CASE WHEN dead THEN 'dead' END, CASE
    WHEN NOT dead THEN (n - 1) %% 100 + 1 END, decode(md5(n::text), 'hex'),
    CASE WHEN dead THEN '{"properties":{}}'::bytea END, CASE WHEN dead THEN 'rejected' END,
    CASE WHEN dead THEN 'VALIDATION_ERROR: no such property' END, CASE WHEN dead THEN at END, CASE WHEN dead THEN 'group-' || n %% 7 END,
    dead::int, called.id, 'CRM_EVENTS', n, at, at
  FROM numbered JOIN called USING (call) ORDER BY n
  RETURNING event_id, status, attempt_id, stream_seq)
INSERT INTO attempt (id, kind, object_type, worker,
  state, lease_until, inputs, created, rejected, not_applied, unknown, http_status, success,
  started_at, closed_at, compact_ids, record_ids, record_urls)
SELECT called.id, 'create', 'contracts', 'loaded', 'settled',
  ended, count(*), count(*) FILTER (WHERE status IS NULL), count(status), 0, 0, 201, true,
  ended, ended, array_agg(event_id ORDER BY stream_seq), array_agg(CASE WHEN status IS NULL THEN (171591000198 + stream_seq)::text END ORDER BY stream_seq),
  array_agg(CASE WHEN status IS NULL THEN 'https://app.hubspot.com/contacts/1234567/record/0-1/' || 171591000198 + stream_seq END ORDER BY stream_seq)
FROM loaded JOIN called ON called.id = attempt_id GROUP BY called.id, ended`

// load fills the outbox as years of events would, but quickly: the index is built at the end, as full as inserts leave
// it.
func load(ctx context.Context, databaseURL string, k *kind, rows, dead int, progress io.Writer) error {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	exec := func(sql string, args ...any) error {
		if err == nil {
			_, err = conn.Exec(ctx, sql, args...)
		}
		return err
	}
	_ = exec(`SET synchronous_commit = off; SET maintenance_work_mem = '512MB'`)
	_ = exec(`ALTER TABLE event SET (autovacuum_enabled = off); ALTER TABLE event DROP CONSTRAINT event_pkey`)
	bar := progressbar.NewOptions(rows, progressbar.OptionSetWriter(progress),
		progressbar.OptionSetVisibility(isTerminal(progress)),
		progressbar.OptionSetDescription("rows"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	for first := 1; first <= rows && err == nil; first += loadChunk {
		last := min(first+loadChunk-1, rows)
		if exec(fmt.Sprintf(loadRows, k.sql), first, last, rows, dead) == nil {
			_ = bar.Set(last)
		}
	}
	_ = exec(`
INSERT INTO outbox_error (event_id, attempt_id, category, message, at)
SELECT event_id, attempt_id, 'VALIDATION_ERROR', 'no such property', dead_at FROM outbox WHERE dead_at IS NOT NULL`)
	_ = exec(fmt.Sprintf(`ALTER TABLE event ADD CONSTRAINT event_pkey PRIMARY KEY (event_id) WITH (fillfactor = %d)`,
		k.fill))
	_ = exec(`ALTER TABLE event RESET (autovacuum_enabled)`)
	_ = exec(`VACUUM (FREEZE, ANALYZE) event, attempt, outbox_error`)
	_ = exec(`CHECKPOINT`)
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// enoughRoom tells before it is too late that the rows will not fit.
func enoughRoom(rows int) error {
	var disk syscall.Statfs_t
	dir := os.TempDir()
	if err := syscall.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	free, want := uint64(disk.Bavail)*uint64(disk.Bsize), uint64(rows)*rowOnDisk
	if free < want {
		return fmt.Errorf("%s has %d MB left, and %d rows want %d: set TMPDIR to a place with more, or --rows to fewer",
			dir, free>>20, rows, want>>20)
	}
	return nil
}

func connect(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, databaseURL)
}

// sizes are those of the tables that all events are in, and of their indexes.
func sizes(ctx context.Context, databaseURL string) (table, indexes float64, err error) {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT sum(pg_table_size(t)) / 1048576.0::float8,
  sum(pg_indexes_size(t)) / 1048576.0::float8 FROM unnest('{event,attempt}'::regclass[]) t`).Scan(&table, &indexes)
	return table, indexes, err
}

// migrate makes the tables.
func (r *round) migrate(ctx context.Context) error { return migrations.Up(ctx, r.database) }

func (s *site) dropDatabase(ctx context.Context, name string) error {
	return s.admin(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
}
