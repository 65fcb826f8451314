package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

// A worker that starts before its servers, or while they do, waits for them as it does later on: whatever starts all of
// them after a power cut need not know an order. What waiting can't mend ends it at once.

// errStopped: the worker was told to stop before it had begun.
var errStopped = errors.New("told to stop before it began")

const (
	tryTimeout  = 15 * time.Second // for a server that takes the connection and then says nothing
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// await tries until it works, and logs once that it has to wait for something, and once that it is there. An error is
// final, or errStopped when ctx has ended.
func await[T any](ctx context.Context, log *slog.Logger, what string, mayPass func(error) bool,
	try func(context.Context) (T, error)) (T, error) {
	waits := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstWait), backoff.WithMaxInterval(longestWait),
		backoff.WithMaxElapsedTime(0))
	begin, tries := time.Now(), 0
	got, err := backoff.RetryNotifyWithData(func() (T, error) {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		got, err := try(ctx)
		if err != nil && !mayPass(err) {
			err = backoff.Permanent(err)
		}
		return got, err
	}, backoff.WithContext(waits, ctx), func(err error, _ time.Duration) {
		level := slog.LevelDebug
		if tries++; tries == 1 {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, what+" is not there; waiting for it", "error", err)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return got, errStopped
	case err == nil && tries > 0:
		log.Info(what+" is there", "after", time.Since(begin).Round(time.Millisecond))
	}
	return got, err
}

// awaitServers waits for Postgres and for NATS. What it returns is to be closed, also with an error.
func (c *runCmd) awaitServers(ctx context.Context, log *slog.Logger, state *readiness) (store *outbox.Store,
	nc *nats.Conn, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		store, err = c.awaitStore(ctx, log)
		state.postgres.Store(err == nil)
		return err
	})
	group.Go(func() (err error) {
		nc, err = c.awaitNATS(ctx, log)
		state.nats.Store(nc)
		return err
	})
	err = group.Wait()
	return store, nc, err
}

func (c *runCmd) awaitStore(ctx context.Context, log *slog.Logger) (*outbox.Store, error) {
	store, err := await(ctx, log, "Postgres", outbox.IsTransient, func(ctx context.Context) (*outbox.Store, error) {
		return openWorker(ctx, c.Database, min(c.InFlight+2, sqlConns))
	})
	if wrong := corrected(err); wrong != nil {
		return nil, wrong
	}
	return store, err
}

func (c *runCmd) awaitNATS(ctx context.Context, log *slog.Logger) (*nats.Conn, error) {
	nc, err := await(ctx, log, "NATS", jetstream.MayPass, func(ctx context.Context) (*nats.Conn, error) {
		auth, err := c.Auth()
		if err != nil {
			return nil, err
		}
		return jetstream.ConnectContext(ctx, c.NATSURL, "crmintake "+workerName(), log, auth)
	})
	if err != nil && !errors.Is(err, errStopped) {
		return nil, flags.Usage(err) // what is not waited for is wrong in the address or the credentials
	}
	return nc, err
}

func (c *runCmd) awaitSource(ctx context.Context, log *slog.Logger, nc *nats.Conn) (*jetstream.Source, error) {
	return await(ctx, log, "JetStream", jetstream.MayPass, func(ctx context.Context) (*jetstream.Source, error) {
		source := c.source()
		source.Log = log
		return jetstream.Open(ctx, nc, source)
	})
}

// lateVault is the outbox once it is there, which is before the first call.
type lateVault struct{ store atomic.Pointer[outbox.Store] }

// ChangeSecret implements hubspot.Vault.
func (v *lateVault) ChangeSecret(ctx context.Context, name string, change func(value []byte, age time.Duration) ([]byte,
	error)) error {
	store := v.store.Load()
	if store == nil {
		return errors.New("the database is not connected yet")
	}
	return store.Vault.ChangeSecret(ctx, name, change)
}
