package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

// parts are what both commands work with.
type parts struct {
	stack *local.Stack
	store *outbox.Store
	nc    *nats.Conn
	say   io.Writer
	begin time.Time
	// forgets tells that created rows are removed after a while.
	forgets bool
	// idProperties are the account's properties that may hold an event's id, by object type.
	idProperties map[string][]string
}

// startParts starts all but the workers. After an error nothing of it is left.
func startParts(ctx context.Context, say io.Writer, cfg local.StackConfig) (p *parts, err error) {
	p = &parts{say: say, begin: time.Now(), idProperties: map[string][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	for name, t := range cfg.CRM.ObjectTypes {
		p.idProperties[name] = t.Unique
	}
	cfg.Progress = func(what string) { p.progress("%s", what) }
	if p.stack, err = local.StartStack(ctx, cfg); err != nil {
		return p, err
	}
	if p.store, err = outbox.Open(ctx, p.stack.DatabaseURL(), 2); err != nil {
		return p, err
	}
	p.nc, err = jetstream.Connect(p.stack.NATS.URL(), "demo", slog.New(slog.DiscardHandler))
	return p, err
}

// stop ends them all, and removes what they wrote.
func (p *parts) stop() error {
	if p.nc != nil {
		p.nc.Close()
	}
	if p.store != nil {
		p.store.Close()
	}
	if p.stack == nil {
		return nil
	}
	return p.stack.Stop()
}

// progress tells people what goes on.
func (p *parts) progress(format string, args ...any) {
	fmt.Fprintf(p.say, "%5.1fs  %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
}

// left tells what the stream and the outbox have left to do. The stream is asked first: what left it is in the outbox
// by then.
func (p *parts) left(ctx context.Context) (l left, err error) {
	source, err := jetstream.Open(ctx, p.nc, jetstream.Config{})
	if err != nil {
		return l, err
	}
	if l.pending, l.unacked, err = source.Outstanding(ctx); err != nil {
		return l, err
	}
	l.outbox, err = p.store.Schedule.Outstanding(ctx)
	return l, err
}

// left is what is still to be done.
type left struct {
	pending, unacked int  // events in the stream that were not delivered, and those that were
	outbox           bool // rows in `sending`, `retry` or `unknown`
}

func (l left) none() bool { return l == left{} }
