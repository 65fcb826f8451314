package main

import (
	"context"
	"log/slog"
	"sync"

	"crmintake/worker/admin"
	"crmintake/worker/hubspot"
)

// adminFlags say who may look at a worker.
type adminFlags struct {
	AdminAddr      string `help:"Where /metrics, /livez, /readyz and /debug/pprof are served. Port 0 takes a free one, and the log says which; or off. Any address but a loopback one wants --admin-token-file or --admin-client-ca." default:"127.0.0.1:8080" placeholder:"HOST:PORT|off"`
	AdminTokenFile string `help:"A file with the bearer token that /metrics and /debug/pprof want then. It is read again when it changes." placeholder:"FILE"`
	AdminCert      string `help:"A file with the certificate of the admin endpoints, for TLS. It is read again for each connection, as its key is." placeholder:"FILE"`
	AdminKey       string `help:"A file with the key of --admin-cert." placeholder:"FILE"`
	AdminClientCA  string `name:"admin-client-ca" help:"A file with the authorities whose clients' certificates open /metrics and /debug/pprof, as the token does." placeholder:"FILE"`
}

// config is what the flags say, nil for no endpoints.
func (f adminFlags) config() (*admin.Config, error) {
	if f.AdminAddr == "off" {
		return nil, nil
	}
	c := &admin.Config{Addr: f.AdminAddr, CertFile: f.AdminCert, KeyFile: f.AdminKey, ClientCAFile: f.AdminClientCA}
	if f.AdminTokenFile != "" {
		token := hubspot.NewFileToken(f.AdminTokenFile) // a file of a token, whoever wants it
		if _, err := token.Token(context.Background()); err != nil {
			return nil, usagef("--admin-token-file: %w", err)
		}
		c.Token = token
	}
	if err := c.Validate(); err != nil {
		return nil, usagef("%w (--admin-addr, --admin-token-file, --admin-cert, --admin-key, --admin-client-ca)", err)
	}
	return c, nil
}

// serve serves the admin endpoints, if they are wanted, until stop. They are there before what the worker has to wait for, and
// until after its end.
func (f adminFlags) serve(ctx context.Context, log *slog.Logger, seen *seen) (stop func(), err error) {
	cfg, err := f.config()
	if err != nil || cfg == nil {
		return func() {}, err
	}
	cfg.Metrics, cfg.Ready, cfg.Alive, cfg.Log = seen.registry, seen.ready, seen.alive, log
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
