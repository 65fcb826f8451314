package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"crmintake/deploy/local"
	"crmintake/deploy/local/proxy"
)

// What goes wrong.
const (
	killWorker      = "kill worker"
	stopWorker      = "stop worker"
	freezeWorker    = "freeze worker"
	restartNATS     = "restart NATS"
	cutNATS         = "cut NATS"
	partNATS        = "partition NATS"
	restartPostgres = "restart Postgres"
	killPostgres    = "kill Postgres"
	cutPostgres     = "cut Postgres"
	partPostgres    = "partition Postgres"
	cutCRM          = "cut CRM"
	partCRM         = "partition CRM"
	stepClock       = "step Postgres' clock"
)

// mischief is a kind of fault that comes again and again, at random distances.
type mischief struct {
	shortest, longest time.Duration                                   // between the end of one and the next
	do                func(ctx context.Context, rng *rand.Rand) error // one of them
}

// moment is when something began to go wrong.
type moment struct {
	what string
	at   time.Time
}

// storm is all that goes wrong, and the record of it.
type storm struct {
	seed  uint64
	stack *local.Stack
	fleet *fleet
	ways  ways
	lease time.Duration
	step  time.Duration // of the database's clock, at most; 0 if it has none of its own

	mu      sync.Mutex
	moments []moment
}

// ways are the connections of workers, each server's through a proxy.
type ways struct{ nats, postgres, crm *proxy.Proxy }

func openWays(s *local.Stack) (w ways, err error) {
	for _, way := range []struct {
		to  **proxy.Proxy
		url string
	}{{&w.nats, s.NATS.URL()}, {&w.postgres, s.DatabaseURL()}, {&w.crm, s.CRM.URL}} {
		u, err := url.Parse(way.url)
		if err != nil {
			w.close()
			return w, err
		}
		if *way.to, err = proxy.Start(u.Host); err != nil {
			w.close()
			return w, err
		}
	}
	return w, nil
}

func (w ways) close() {
	for _, p := range []*proxy.Proxy{w.nats, w.postgres, w.crm} {
		if p != nil {
			p.Close()
		}
	}
}

// env are the addresses of the proxies, for workers.
func (w ways) env(s *local.Stack) ([]string, error) {
	env := s.Env()
	for name, way := range map[string]struct{ url, addr string }{
		"CRMINTAKE_NATS_URL":     {s.NATS.URL(), w.nats.Addr()},
		"CRMINTAKE_DATABASE_URL": {s.DatabaseURL(), w.postgres.Addr()},
		"CRMINTAKE_HUBSPOT_URL":  {s.CRM.URL, w.crm.Addr()},
	} {
		u, err := url.Parse(way.url)
		if err != nil {
			return nil, err
		}
		u.Host = way.addr
		env = append(env, name+"="+u.String()) // the last one counts
	}
	return env, nil
}

// kinds are what goes wrong. Of the database's faults there is one kind in all: a worker that saw the database fail takes no call
// for lost within 20 s, nor does anybody within 10 s of the database's start. Forty quiet seconds leave time for what
// has expired to be found.
func (s *storm) kinds() []mischief {
	kinds := []mischief{
		{1500 * time.Millisecond, 4 * time.Second, func(_ context.Context, rng *rand.Rand) error {
			s.did(killWorker, func() bool { return s.fleet.kill(rng) })
			return nil
		}},
		{8 * time.Second, 20 * time.Second, func(_ context.Context, rng *rand.Rand) error {
			s.did(stopWorker, func() bool { return s.fleet.stop(rng) })
			return nil
		}},
		{5 * time.Second, 15 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			long := s.lease + time.Second + upTo(rng, 3*time.Second)
			s.did(freezeWorker, func() bool { return s.fleet.freeze(ctx, rng, long) })
			return nil
		}},
		{20 * time.Second, 50 * time.Second, func(context.Context, *rand.Rand) (err error) {
			s.did(restartNATS, func() bool { err = s.stack.NATS.Restart(); return err == nil })
			return err
		}},
		{8 * time.Second, 25 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			s.disturb(ctx, rng, s.ways.nats, cutNATS, partNATS)
			return nil
		}},
		{4 * time.Second, 15 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			s.disturb(ctx, rng, s.ways.crm, cutCRM, partCRM)
			return nil
		}},
		{40 * time.Second, 60 * time.Second, s.hurtPostgres},
	}
	if s.step > 0 {
		kinds = append(kinds, mischief{8 * time.Second, 25 * time.Second, s.stepClock})
	}
	return kinds
}

func (s *storm) stepClock(_ context.Context, rng *rand.Rand) (err error) {
	ahead := upTo(rng, s.step) - s.step/2
	s.did(stepClock, func() bool { err = s.stack.Postgres.SetClock(ahead); return err == nil })
	return err
}

// longestPartition is longer than a lease, so that some calls outlive theirs.
const longestPartition = 9 * time.Second

// disturb cuts all connections to a server, or holds them back for a while.
func (s *storm) disturb(ctx context.Context, rng *rand.Rand, way *proxy.Proxy, cut, part string) {
	if rng.IntN(3) > 0 {
		s.did(cut, func() bool { way.Cut(); return true })
		return
	}
	long := upTo(rng, longestPartition)
	s.did(part, func() bool {
		way.Pause()
		defer way.Resume()
		pause(ctx, long)
		return true
	})
}

func (s *storm) hurtPostgres(ctx context.Context, rng *rand.Rand) (err error) {
	switch rng.IntN(4) {
	case 0:
		s.did(restartPostgres, func() bool { err = s.stack.Postgres.Restart(ctx); return err == nil })
	case 1, 2: // the worst, and therefore twice as often
		down := upTo(rng, 3*time.Second)
		s.did(killPostgres, func() bool {
			if err = s.stack.Postgres.Kill(); err != nil {
				return false
			}
			pause(ctx, down)
			err = s.stack.Postgres.StartAgain(ctx)
			return err == nil
		})
	default:
		s.disturb(ctx, rng, s.ways.postgres, cutPostgres, partPostgres)
	}
	return err
}

// did does something and notes the moment of its beginning, if it happened.
func (s *storm) did(what string, do func() bool) {
	m := moment{what: what, at: time.Now()}
	if do() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.moments = append(s.moments, m)
	}
}

// rage lets everything go wrong for so long. It returns when nothing is wrong any more.
func (s *storm) rage(ctx context.Context, long time.Duration) error {
	end := time.Now().Add(long)
	group, ctx := errgroup.WithContext(ctx)
	for k, m := range s.kinds() {
		rng := rand.New(rand.NewPCG(s.seed, uint64(k)))
		group.Go(func() error {
			// Also a short storm has something of each kind.
			wait := upTo(rng, min(m.longest, long/2))
			for time.Now().Add(wait).Before(end) {
				if !pause(ctx, wait) {
					return ctx.Err()
				}
				if err := m.do(ctx, rng); err != nil {
					return fmt.Errorf("chaos itself failed: %w", err)
				}
				wait = m.shortest + upTo(rng, m.longest-m.shortest)
			}
			return nil
		})
	}
	return group.Wait()
}

// soFar is what has gone wrong until now.
func (s *storm) soFar() []moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moments[:len(s.moments):len(s.moments)]
}

// counts is how often each thing has.
func counts(moments []moment) map[string]int {
	by := map[string]int{}
	for _, m := range moments {
		by[m.what]++
	}
	return by
}

// upTo draws a time between nothing and d.
func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
