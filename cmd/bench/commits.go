package main

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// commits knows when each transaction was first seen committed. Postgres itself tells only when a commit began (now()
// is even the transaction's start, and pg_xact_commit_timestamp is before the write to disk). A snapshot shows a
// transaction as done once its commit is on disk; so its time is that of the first snapshot, of one every other
// millisecond, that does: an upper bound. A snapshot reads no table, and costs the server next to nothing.
type commits struct {
	looks  []look
	cancel context.CancelFunc
	done   chan error
}

const lookEvery = 2 * time.Millisecond

// look is a snapshot, and the time when it was known.
type look struct {
	at         time.Time
	xmin, xmax int64          // all before xmin are done, none from xmax on
	running    map[int64]bool // between them
}

func (l *look) shows(xid int64) bool { return xid < l.xmin || xid < l.xmax && !l.running[xid] }

// watchCommits looks until stop.
func watchCommits(ctx context.Context, databaseURL string) (*commits, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &commits{cancel: cancel, done: make(chan error, 1)}
	go func() {
		defer conn.Close(context.WithoutCancel(ctx))
		c.done <- c.watch(ctx, conn)
	}()
	return c, nil
}

func (c *commits) watch(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	before := ""
	for {
		last := ctx.Err() != nil // what was committed before stop was called, this look shows
		var snapshot string
		if err := conn.QueryRow(context.WithoutCancel(ctx),
			`SELECT pg_current_snapshot()::text`).Scan(&snapshot); err != nil {
			return err
		}
		if snapshot != before {
			l, err := lookOf(snapshot, time.Now())
			if err != nil {
				return err
			}
			c.looks, before = append(c.looks, l), snapshot
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// lookOf reads "xmin:xmax:running,running".
func lookOf(snapshot string, at time.Time) (l look, err error) {
	l = look{at: at, running: map[int64]bool{}}
	parts := strings.SplitN(snapshot, ":", 3)
	if len(parts) == 3 {
		if l.xmin, err = strconv.ParseInt(parts[0], 10, 64); err == nil {
			l.xmax, err = strconv.ParseInt(parts[1], 10, 64)
		}
		for xid := range strings.SplitSeq(parts[2], ",") {
			if n, perr := strconv.ParseInt(xid, 10, 64); perr == nil {
				l.running[n] = true
			}
		}
	}
	if len(parts) != 3 || err != nil {
		return l, fmt.Errorf("unexpected snapshot %q", snapshot)
	}
	return l, nil
}

// stop ends the looking. What was committed before it is seen.
func (c *commits) stop() error {
	c.cancel()
	return <-c.done
}

// seen tells when the transaction was seen committed, after stop. xid is of a server that has not yet used up 32 bits
// of them.
func (c *commits) seen(xid int64) (at time.Time, ok bool) {
	// What one snapshot shows, all later ones do.
	n := sort.Search(len(c.looks), func(n int) bool { return c.looks[n].shows(xid) })
	if n == len(c.looks) {
		return at, false
	}
	return c.looks[n].at, true
}
