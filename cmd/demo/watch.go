package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// watchEach is how often people are told how it goes.
const watchEach = 10 * time.Second

// watch tells people how it goes, until ctx ends.
func (c *chaos) watch(ctx context.Context) {
	tick := time.NewTicker(watchEach)
	defer tick.Stop()
	dead := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, err := c.dead(ctx); err == nil { // else the database is away, as it should be at times
			dead = n
		}
		published, records := int(c.confirmed.Load()), c.stack.CRM.Len(objectType)
		n := counts(c.injector.injected())
		c.progress("published %d  created %d  dead %d  backlog %d  kills %d  restarts %d", published, records, dead,
			max(published-records-dead, 0), n[killWorker], n[restartNATS]+n[restartPostgres]+n[killPostgres])
	}
}

// dead counts the dead letters.
func (c *chaos) dead(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err = c.query(ctx, `SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL`,
		func(rows pgx.Rows) error { return rows.Scan(&n) })
	return n, err
}

// unsettled describes the rows that have no outcome.
func (c *chaos) unsettled(ctx context.Context) (string, error) {
	var list []string
	err := c.query(ctx,
		`SELECT status, count(*), coalesce(max(error), '') FROM outbox WHERE status IN ('sending', 'retry', 'unknown')
  GROUP BY 1 ORDER BY 1`,
		func(rows pgx.Rows) error {
			var status, last string
			var n int
			err := rows.Scan(&status, &n, &last)
			list = append(list, fmt.Sprintf("%d %s (such as: %s)", n, status, last))
			return err
		})
	if len(list) == 0 {
		return "no rows without an outcome", err
	}
	return strings.Join(list, ", "), err
}

// query asks the database on a connection of its own: those of a pool may have been broken meanwhile.
func (c *chaos) query(ctx context.Context, sql string, row func(pgx.Rows) error, args ...any) error {
	conn, err := pgx.Connect(ctx, c.stack.DatabaseURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// cleanEnviron is the environment without settings that are meant for another deployment.
func cleanEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CRMINTAKE_") })
}
