package main

import (
	"context"
	"log/slog"
	"sync"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/worker/admin"
)

// serveAdmin serves the admin endpoints, if they are wanted, until stop. They are there before what the worker has to
// wait for, and until after its end.
func serveAdmin(ctx context.Context, f flags.Admin, log *slog.Logger, state *readiness) (stop func(), err error) {
	cfg, err := f.Config()
	if err != nil || cfg == nil {
		return func() {}, err
	}
	cfg.Metrics, cfg.Ready, cfg.Alive, cfg.Log = state.registry, state.ready, state.alive, log
	server, err := admin.Listen(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	log.Info("admin endpoints", "url", server.URL())
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			log.Error("the admin endpoints have ended; the worker goes on", "error", err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}, nil
}
