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

// fault is a kind that comes again and again, at random distances.
type fault struct {
	shortest, longest time.Duration                                   // between the end of one and the next
	do                func(ctx context.Context, rng *rand.Rand) error // one of them
}

// injection is when something began to go wrong.
type injection struct {
	what string
	at   time.Time
}

// injector makes faults happen, and keeps the record of them.
type injector struct {
	seed    uint64
	stack   *local.Stack
	fleet   *fleet
	proxies proxies
	lease   time.Duration
	step    time.Duration // of the database's clock, at most; 0 if it has none of its own

	mu   sync.Mutex
	done []injection
}

// proxies are what workers connect through, one for each server.
type proxies struct{ nats, postgres, crm *proxy.Proxy }

func openProxies(s *local.Stack) (p proxies, err error) {
	for _, one := range []struct {
		to  **proxy.Proxy
		url string
	}{{&p.nats, s.NATS.URL()}, {&p.postgres, s.DatabaseURL()}, {&p.crm, s.CRM.URL}} {
		u, err := url.Parse(one.url)
		if err != nil {
			p.close()
			return p, err
		}
		if *one.to, err = proxy.Start(u.Host); err != nil {
			p.close()
			return p, err
		}
	}
	return p, nil
}

func (p proxies) close() {
	for _, one := range []*proxy.Proxy{p.nats, p.postgres, p.crm} {
		if one != nil {
			one.Close()
		}
	}
}

// env are the addresses of the proxies, for workers.
func (p proxies) env(s *local.Stack) ([]string, error) {
	env := s.Env()
	for name, one := range map[string]struct{ url, addr string }{
		"CRMINTAKE_NATS_URL":     {s.NATS.URL(), p.nats.Addr()},
		"CRMINTAKE_DATABASE_URL": {s.DatabaseURL(), p.postgres.Addr()},
		"CRMINTAKE_HUBSPOT_URL":  {s.CRM.URL, p.crm.Addr()},
	} {
		u, err := url.Parse(one.url)
		if err != nil {
			return nil, err
		}
		u.Host = one.addr
		env = append(env, name+"="+u.String()) // the last one counts
	}
	return env, nil
}

// faults are what goes wrong. Of the database's faults there is one kind in all: a worker that saw the database fail
// takes no call for lost within 20 s, nor does anybody within 10 s of the database's start. Forty quiet seconds leave
// time for what has expired to be found.
func (i *injector) faults() []fault {
	list := []fault{
		{1500 * time.Millisecond, 4 * time.Second, func(_ context.Context, rng *rand.Rand) error {
			i.inject(killWorker, func() bool { return i.fleet.kill(rng) })
			return nil
		}},
		{8 * time.Second, 20 * time.Second, func(_ context.Context, rng *rand.Rand) error {
			i.inject(stopWorker, func() bool { return i.fleet.stop(rng) })
			return nil
		}},
		{5 * time.Second, 15 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			long := i.lease + time.Second + upTo(rng, 3*time.Second)
			i.inject(freezeWorker, func() bool { return i.fleet.freeze(ctx, rng, long) })
			return nil
		}},
		{20 * time.Second, 50 * time.Second, func(context.Context, *rand.Rand) (err error) {
			i.inject(restartNATS, func() bool { err = i.stack.NATS.Restart(); return err == nil })
			return err
		}},
		{8 * time.Second, 25 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			i.faultConnection(ctx, rng, i.proxies.nats, cutNATS, partNATS)
			return nil
		}},
		{4 * time.Second, 15 * time.Second, func(ctx context.Context, rng *rand.Rand) error {
			i.faultConnection(ctx, rng, i.proxies.crm, cutCRM, partCRM)
			return nil
		}},
		{40 * time.Second, 60 * time.Second, i.faultPostgres},
	}
	if i.step > 0 {
		list = append(list, fault{8 * time.Second, 25 * time.Second, i.stepClock})
	}
	return list
}

func (i *injector) stepClock(_ context.Context, rng *rand.Rand) (err error) {
	ahead := upTo(rng, i.step) - i.step/2
	i.inject(stepClock, func() bool { err = i.stack.Postgres.SetClock(ahead); return err == nil })
	return err
}

// longestPartition is longer than a lease, so that some calls outlive theirs.
const longestPartition = 9 * time.Second

// faultConnection cuts all connections to a server, or holds them back for a while.
func (i *injector) faultConnection(ctx context.Context, rng *rand.Rand, p *proxy.Proxy, cut, part string) {
	if rng.IntN(3) > 0 {
		i.inject(cut, func() bool { p.Cut(); return true })
		return
	}
	long := upTo(rng, longestPartition)
	i.inject(part, func() bool {
		p.Pause()
		defer p.Resume()
		pause(ctx, long)
		return true
	})
}

func (i *injector) faultPostgres(ctx context.Context, rng *rand.Rand) (err error) {
	switch rng.IntN(4) {
	case 0:
		i.inject(restartPostgres, func() bool { err = i.stack.Postgres.Restart(ctx); return err == nil })
	case 1, 2: // the worst, and therefore twice as often
		down := upTo(rng, 3*time.Second)
		i.inject(killPostgres, func() bool {
			if err = i.stack.Postgres.Kill(); err != nil {
				return false
			}
			pause(ctx, down)
			err = i.stack.Postgres.StartAgain(ctx)
			return err == nil
		})
	default:
		i.faultConnection(ctx, rng, i.proxies.postgres, cutPostgres, partPostgres)
	}
	return err
}

// inject does something and records when it began, if it happened.
func (i *injector) inject(what string, do func() bool) {
	m := injection{what: what, at: time.Now()}
	if do() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.done = append(i.done, m)
	}
}

// run lets everything go wrong for so long. It returns when nothing is wrong any more.
func (i *injector) run(ctx context.Context, long time.Duration) error {
	end := time.Now().Add(long)
	group, ctx := errgroup.WithContext(ctx)
	for k, m := range i.faults() {
		rng := rand.New(rand.NewPCG(i.seed, uint64(k)))
		group.Go(func() error {
			// Also a short run has something of each kind.
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

// injected is what has gone wrong until now.
func (i *injector) injected() []injection {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.done[:len(i.done):len(i.done)]
}

// counts is how often each thing has.
func counts(moments []injection) map[string]int {
	by := map[string]int{}
	for _, m := range moments {
		by[m.what]++
	}
	return by
}

// upTo draws a time between nothing and d.
func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
