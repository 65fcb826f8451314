package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

// gate is a grouped whose commits wait until they are told how to end.
type gate struct {
	*grouped[string]
	begun chan commit
}

// commit is one that is under way.
type commit struct {
	group []string
	ctx   context.Context
	end   chan<- error
}

func newGate() *gate {
	g := &gate{begun: make(chan commit)}
	begin := func(ctx context.Context, group []string) error {
		end := make(chan error)
		g.begun <- commit{group, ctx, end}
		return <-end
	}
	g.grouped = &grouped[string]{
		turn:   new(sync.Mutex),
		aside:  make(chan struct{}, asideMost),
		commit: begin,
		alone:  func(ctx context.Context, one string) error { return begin(ctx, []string{one}) },
		weight: func(s string) int { return len(s) },
	}
	return g
}

// ask begins a request.
func (g *gate) ask(ctx context.Context, what string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- g.do(ctx, what) }()
	return done
}

// wait begins a request that waits as the n-th in the queue.
func (g *gate) wait(ctx context.Context, n int, what string) <-chan error {
	done := g.ask(ctx, what)
	for {
		g.mu.Lock()
		waiting := len(g.queue)
		g.mu.Unlock()
		if waiting == n {
			return done
		}
		runtime.Gosched()
	}
}

// busy begins a commit of one request.
func (g *gate) busy(t *testing.T) (first commit) {
	done := g.ask(t.Context(), "first")
	first = <-g.begun
	if diff := cmp.Diff([]string{"first"}, first.group); diff != "" {
		t.Fatal(diff)
	}
	t.Cleanup(func() { ok(t, <-done) })
	return first
}

const insertSomeEvent = `
INSERT INTO event (event_id, object_type, status, payload, content_hash, stream, stream_seq, reason, dead_at) VALUES ($1, 'x', 'dead', '', '', '', 0, 'rejected', now())`

// Two that share a turn commit one after the other.
func TestCommitsTakeTurns(t *testing.T) {
	t.Parallel()
	a, b := newGate(), newGate()
	b.turn = a.turn
	first := a.busy(t)
	done := b.wait(t.Context(), 1, "x")
	more := b.wait(t.Context(), 2, "y")
	first.end <- nil
	c := <-b.begun
	if diff := cmp.Diff([]string{"x", "y"}, c.group); diff != "" {
		t.Error(diff)
	}
	c.end <- nil
	ok(t, <-done)
	ok(t, <-more)
}

func TestWhatComesMeanwhileGoesTogether(t *testing.T) {
	t.Parallel()
	g := newGate()
	first := g.busy(t)
	var names []string
	var later []<-chan error
	for n := range groupMost + 1 {
		names = append(names, fmt.Sprint(n))
		later = append(later, g.wait(t.Context(), n+1, names[n]))
	}
	first.end <- nil
	c := <-g.begun
	if diff := cmp.Diff(names[:groupMost], c.group); diff != "" {
		t.Error(diff)
	}
	broken := errors.New("connection lost")
	c.end <- broken
	for n := range groupMost {
		if err := <-later[n]; err != broken {
			t.Errorf("%d: %v", n, err)
		}
	}
	c = <-g.begun
	if diff := cmp.Diff(names[groupMost:], c.group); diff != "" {
		t.Error(diff)
	}
	c.end <- nil
	ok(t, <-later[groupMost])
}

func TestALargeOneGoesAlone(t *testing.T) {
	t.Parallel()
	g := newGate()
	first := g.busy(t)
	large := g.wait(t.Context(), 1, string(make([]byte, groupBytes)))
	small := g.wait(t.Context(), 2, "small")
	first.end <- nil
	c := <-g.begun
	if len(c.group) != 1 || len(c.group[0]) != groupBytes {
		t.Errorf("%d are committed together", len(c.group))
	}
	c.end <- nil
	ok(t, <-large)
	(<-g.begun).end <- nil
	ok(t, <-small)
}

// A fault in the data of one, or a lock that it waits for, has each done by itself.
func TestOneFaultIsNotTheOthers(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{errApart, &pgconn.PgError{Code: "23514"}, &pgconn.PgError{Code: lockNotAvailable}} {
		g := newGate()
		first := g.busy(t)
		good, bad := g.wait(t.Context(), 1, "good"), g.wait(t.Context(), 2, "bad")
		first.end <- nil
		(<-g.begun).end <- fault
		for range 2 {
			if c := <-g.begun; c.group[0] == "bad" {
				c.end <- fault
			} else {
				c.end <- nil
			}
		}
		ok(t, <-good)
		if err := <-bad; err != fault {
			t.Error(err)
		}
	}
}

// While those wait that are done alone, what comes is committed, and whoever has no place aside gives up when it is
// time.
func TestAsideIsNotInTheWay(t *testing.T) {
	t.Parallel()
	g := newGate()
	first := g.busy(t)
	giveUp, stop := context.WithCancel(t.Context())
	var stuck []<-chan error
	for n := range asideMost + 1 {
		stuck = append(stuck, g.wait(giveUp, n+1, fmt.Sprint(n)))
	}
	first.end <- nil
	(<-g.begun).end <- &pgconn.PgError{Code: lockNotAvailable}
	waiting := map[string]commit{}
	for range asideMost {
		c := <-g.begun
		waiting[c.group[0]] = c
	}
	later := g.ask(t.Context(), "later")
	c := <-g.begun
	if diff := cmp.Diff([]string{"later"}, c.group); diff != "" {
		t.Error(diff)
	}
	c.end <- nil
	ok(t, <-later)
	stop()
	refused := errors.New("the lock is still held")
	for n, done := range stuck {
		if c, has := waiting[fmt.Sprint(n)]; !has {
			if err := <-done; err != context.Canceled {
				t.Errorf("without a place: %v", err)
			}
		} else {
			<-c.ctx.Done()
		}
	}
	for name, c := range waiting {
		c.end <- refused
		if n, _ := strconv.Atoi(name); <-stuck[n] != refused {
			t.Errorf("%s is told another error", name)
		}
	}
}

// A commit goes on for as long as one of its requests is wanted.
func TestACommitEndsWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	g := newGate()
	first := g.busy(t)
	one, stopOne := context.WithCancel(t.Context())
	two, stopTwo := context.WithCancel(t.Context())
	defer stopTwo()
	done := []<-chan error{g.wait(one, 1, "1"), g.wait(two, 2, "2")}
	first.end <- nil
	c := <-g.begun
	stopOne()
	if c.ctx.Err() != nil {
		t.Error("one gave up, and the commit was ended for both")
	}
	stopTwo()
	<-c.ctx.Done()
	c.end <- nil
	for _, done := range done {
		ok(t, <-done)
	}
}

// A lock that somebody holds, on a batch that waits for its outcome or on an event that is to be sent, keeps no other
// from being intended or settled.
func TestALockHoldsUpOneOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	const others = 3 * groupMost
	locked := intend(t, s, "locked")
	somebody, err := openAt(t, s.pool.Config().ConnString(), 1).pool.Begin(t.Context())
	ok(t, err)
	_, err = somebody.Exec(t.Context(), `SELECT FROM attempt WHERE id = $1 FOR UPDATE`, locked.ID)
	ok(t, err)
	_, err = somebody.Exec(t.Context(), insertSomeEvent, "taken")
	ok(t, err)

	var stuck [2]error
	var stuckOnes, all sync.WaitGroup
	stuckOnes.Go(func() {
		stuck[0] = s.Batches.Settle(t.Context(), locked.ID, Call{Created: 1}, alike(created, "locked"))
	})
	stuckOnes.Go(func() { _, stuck[1] = s.Batches.Intend(t.Context(), newAttempt(), events("taken")) })
	for waiting := 0; waiting < len(stuck); {
		ok(t, s.pool.QueryRow(t.Context(), `
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting))
	}
	for n := range others {
		all.Go(func() {
			id, a := fmt.Sprint(n), newAttempt()
			_, err := s.Batches.Intend(t.Context(), a, events(id))
			if err == nil {
				err = s.Batches.Settle(t.Context(), a.ID, Call{Created: 1}, alike(created, id))
			}
			if err != nil {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	all.Wait() // while the locks are held
	ok(t, somebody.Rollback(t.Context()))
	stuckOnes.Wait()
	for _, err := range stuck {
		if err != nil && !ofALock(err) { // where it took long
			t.Error(err)
		}
	}
	want(t, s, `SELECT count(*) FROM outbox WHERE status = 'created' AND event_id <> 'locked'`, fmt.Sprint(others))
}

// Many intents and outcomes at once, some of which fail: each has its own answer, and the table tells the same.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	const batches, size = 60, 5
	var wg sync.WaitGroup
	for n := range batches {
		wg.Go(func() {
			ids := numbered(fmt.Sprintf("e%d-", n), size)
			if n%5 == 1 {
				ids[0] = "shared" // with others, in whatever order
			}
			a := newAttempt()
			standing, err := s.Batches.Intend(t.Context(), a, events(ids...))
			if err != nil {
				t.Error(err)
				return
			}
			ours := ids[:0:0]
			for i, id := range ids {
				if standing[i] == Inserted {
					ours = append(ours, id)
				} else if id != "shared" {
					t.Errorf("%s is not ours", id)
				}
			}
			call := Call{Created: len(ours)}
			if n%5 == 2 { // its counts are wrong
				err := s.Batches.Settle(t.Context(), a.ID, Call{Created: 1}, alike(created, ours...))
				if !ofTheData(err) {
					t.Errorf("counts that don't add up: %v", err)
				}
			}
			if n%5 == 3 {
				if err := s.Batches.Settle(t.Context(), NewAttemptID(), call, alike(created, ours...)); !errors.Is(err, ErrLeaseLost) {
					t.Errorf("an attempt that is not there: %v", err)
				}
			}
			if err := s.Batches.Settle(t.Context(), a.ID, call, alike(created, ours...)); err != nil {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	wg.Wait()
	shared := batches / 5
	want(t, s, `SELECT count(*) FROM outbox WHERE status = 'created'`, fmt.Sprint(batches*size-shared+1))
	want(t, s, `SELECT count(*) FROM outbox WHERE status <> 'created'`, "0")
	want(t, s, `SELECT count(*) FROM attempt WHERE state = 'settled'`, fmt.Sprint(batches))
	want(t, s, `SELECT count(*) FROM attempt a WHERE inputs <> (SELECT count(*) FROM outbox o WHERE o.attempt_id = a.id)`, "0")
}
