package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // where the machine has no time zones, as in a container with nothing but the program

	"go.opentelemetry.io/otel/trace"

	"crmintake/batcher"
	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

type runCmd struct {
	flags.NATS
	flags.ConsumerName
	flags.Database
	flags.HubSpot
	flags.Calls
	flags.Outcome
	flags.Admin
	flags.Profiling
	flags.Monitor

	Drain           bool          `help:"Exit with 0 once the consumer has nothing pending or unacknowledged, the stream nothing that is delivered to nobody, and no row is sending, retry or unknown."`
	ShutdownTimeout time.Duration `help:"How long to finish what is under way after SIGTERM or Ctrl-C; a second one exits at once." default:"20s" placeholder:"TIME"`
}

func (c *runCmd) config(ackWait time.Duration) pipeline.Config {
	return pipeline.Config{
		Name:          workerName(),
		Batch:         batcher.Config{Size: c.BatchSize, Bytes: int(c.BatchBytes), Wait: c.BatchWait},
		InFlight:      c.InFlight,
		Memory:        int(c.Memory),
		CallTimeout:   c.CallTimeout,
		Lease:         c.Lease,
		AckWait:       ackWait,
		Quota:         c.QuotaConfig(),
		TrialInterval: c.TrialInterval,
		Breaker:       pipeline.Breaker(c.Breaker),
		IDProperty:    c.IDProperty,
		OnUnknown:     c.OnUnknown.Others(),
		OnUnknownOf:   c.OnUnknown.ByType(),
		OnConflict:    pipeline.OnConflict(c.OnConflict),
		Settle:        c.Settle,
		Retry: pipeline.Retry{
			Initial: c.RetryInitial, Max: c.RetryMax, Attempts: c.RetryAttempts, Age: c.RetryAge,
		},
		KeepPayload:     c.KeepPayload,
		KeepCreated:     c.KeepCreated.OrForEver(),
		ShutdownTimeout: c.ShutdownTimeout,
		Drain:           c.Drain,
	}
}

// positive names the flags whose zero would mean "the default" further down, which nobody who types 0 expects.
func (c *runCmd) positive() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"batch-size", int64(c.BatchSize)}, {"batch-bytes", int64(c.BatchBytes)}, {"batch-wait", int64(c.BatchWait)},
		{"in-flight", int64(c.InFlight)}, {"memory", int64(c.Memory)}, {"call-timeout", int64(c.CallTimeout)},
		{"lease", int64(c.Lease)}, {"trial-interval", int64(c.TrialInterval)}, {"settle", int64(c.Settle)},
		{"retry-initial", int64(c.RetryInitial)}, {"retry-max", int64(c.RetryMax)}, {"retry-attempts",
			int64(c.RetryAttempts)},
		{"retry-age", int64(c.RetryAge)}, {"shutdown-timeout", int64(c.ShutdownTimeout)},
	} {
		if f.value <= 0 {
			faults = append(faults, fmt.Errorf("--%s: must be more than 0", f.name))
		}
	}
	return errors.Join(faults...)
}

// sqlConns is how many database connections a worker has at most: a few more than the statements that two cores of a
// database server work on at once.
const sqlConns = 12

func (c *runCmd) Run(ctx context.Context, p *program) (err error) {
	if err := errors.Join(c.positive(), c.OnUnknown.Check()); err != nil {
		return flags.Usage(err)
	}
	// All that can be known to be wrong without the servers is told first. The ack wait is the consumer's: see below.
	if err := c.config(c.BatchWait + time.Hour).Validate(); err != nil {
		return flags.Usage(err)
	}
	if err := errors.Join(c.NATS.Check(), c.source().Validate(), c.Database.Check(),
		c.Monitor.Check()); err != nil {
		return flags.Usage(err)
	}
	state := newReadiness()
	vault := &lateVault{}
	token, closeToken, err := c.Token(vault, userAgent())
	if err != nil {
		return err
	}
	defer closeToken()
	stopProfile, err := c.Profiling.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopProfile()) }()
	crm, err := hubspot.New(hubspot.Config{
		BaseURL: c.HubspotURL, Version: c.HubspotVersion, Token: token, MaxInFlight: c.InFlight,
		IDProperty: c.IDProperty, UserAgent: userAgent(), KeepResult: c.KeepResult,
	})
	if err != nil {
		return flags.Usage(err)
	}
	defer crm.Close()
	tracer, stopTraces, err := traces(ctx, p.log)
	if err != nil {
		return err
	}
	defer stopTraces()
	stopAdmin, err := serveAdmin(ctx, c.Admin, p.log, state)
	if err != nil {
		return err
	}
	defer stopAdmin()
	if err := c.work(ctx, p, crm, vault, state, tracer); !errors.Is(err, errStopped) {
		return err
	}
	p.log.Info("stopped before it began: not all that it needs was there")
	return nil
}

// work connects and works until it is told to stop.
func (c *runCmd) work(ctx context.Context, p *program, crm worker.CRM, vault *lateVault, state *readiness,
	tracer trace.Tracer) error {
	store, nc, err := c.awaitServers(ctx, p.log, state)
	if store != nil {
		defer store.Close()
	}
	if nc != nil {
		defer func() {
			if err := jetstream.Close(nc); err != nil {
				p.log.Warn("some acks may be lost, which costs a redelivery", "error", err)
			}
		}()
	}
	if err != nil {
		return err
	}
	vault.store.Store(store)
	source, err := c.awaitSource(ctx, p.log, nc)
	if err != nil {
		return err
	}
	for _, warning := range source.Warnings() {
		p.log.Warn(warning)
	}
	c.tellDurable(ctx, p, store, source)
	cfg := c.config(source.AckWait())
	cfg.Metrics, cfg.Tracer = state.metrics, tracer
	w, err := pipeline.New(cfg, source, store, crm, p.log)
	if err != nil {
		return flags.Usage(err)
	}
	state.worker.Store(w)
	defer context.AfterFunc(ctx, func() { state.stopping.Store(true) })()

	p.log.Info("started", "worker", cfg.Name, "stream", c.Stream, "consumer", c.Consumer, "crm", c.HubspotURL, "quota",
		quotaText(cfg.Quota),
		"id_property", c.IDProperty)
	begin := time.Now()
	err = w.Run(ctx)
	s := w.Stats()
	p.log.Info("stopped", "after", time.Since(begin).Round(time.Millisecond), "received", s.Received.Load(), "calls",
		s.Calls.Load(),
		"created", s.Created.Load(), "dead", s.Dead.Load(), "duplicates", s.Duplicates.Load(), "given_back",
		s.GivenBack.Load())
	return err
}

// source tells where the events are.
func (c *runCmd) source() jetstream.Config {
	return jetstream.Config{Stream: c.Stream, Domain: c.Domain, Subject: c.Subject, Consumer: c.Consumer,
		Traces: tracing()}
}

func quotaText(q pipeline.Quota) string {
	if q.Calls == 0 {
		return "off"
	}
	text := fmt.Sprintf("%d/%v", q.Calls, q.Window)
	if q.Daily > 0 {
		text += fmt.Sprintf(", %d a day in %v", q.Daily, q.Location)
	}
	if q.Reserve > 0 {
		text += fmt.Sprintf(", less %.4g%%", 100*q.Reserve)
	}
	return text
}
