package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/fleet"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
)

type statusCmd struct {
	flags.NATS
	flags.ConsumerName
	flags.Database
	ExitCode bool           `help:"Exit with 3 when something needs a person, or nothing moves."`
	Watch    flags.Interval `help:"Show it again every so often (2s if no time is given), in place on a terminal, until interrupted." placeholder:"TIME"`
}

func (statusCmd) Help() string {
	return "The first line says how things stand: moving, idle, held or in trouble; below it is what is in the way, " +
		"why, " +
		"and what to do. " +
		"Events are counted by object type and status, with the oldest of each: for sending since its call began, " +
		"for retry and " +
		"unknown since the event came, for dead since it died. In a large outbox the number of created events is the " +
		"database's estimate, and marked so. The quota is as the workers were told. What can't be " +
		"reached is told, the rest is shown, and the exit code is 1."
}

// statusReport is how things stand, as far as it can be known.
type statusReport struct {
	Verdict          operator.Verdict `json:"verdict"`
	*operator.Status                  // nil if the database can't be asked
	Backlog          *backlog         `json:"backlog,omitempty"` // nil if NATS can't be asked
	Scaling          *scaling         `json:"scaling,omitempty"` // nil if either can't
	Faults           []statusFail     `json:"faults,omitempty"`
}

// backlog is what the stream holds for the consumer.
type backlog struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	Pending  int    `json:"pending"`         // not delivered yet
	Unacked  int    `json:"unacked"`         // in the hands of workers, or put off
	Lanes    bool   `json:"lanes,omitempty"` // each object type has a consumer of its own at the moment
	Stranded int    `json:"stranded"`        // neither, and delivered to nobody; Advice says why, and what to type
	Advice   string `json:"advice,omitempty"`

	PausedUntil time.Time `json:"paused_until,omitzero"` // somebody told NATS to deliver nothing
}

// scaling is what there is to do, and how many workers it wants. What is not known, or has no bound, is left out.
type scaling struct {
	Events        int     `json:"events"`                            // that wait, in the stream and in the outbox
	QuotaRate     float64 `json:"quota_events_per_second,omitempty"` // what the quota allows
	FleetRate     float64 `json:"fleet_events_per_second,omitempty"` // what the workers could create without it
	QuotaLimits   bool    `json:"quota_limits"`                      // more workers would not help
	Empty         string  `json:"empty_in,omitempty"`                // as Go writes durations, new events aside
	Workers       int     `json:"workers"`
	WorkersWanted int     `json:"workers_wanted"`
}

// statusFail is a part that can't be asked.
type statusFail struct {
	Part  string `json:"part"`
	Error string `json:"error"`
}

func (c *statusCmd) Run(ctx context.Context, p *program) error {
	source := jetstream.Config{Stream: c.Stream, Domain: c.Domain, Subject: c.Subject, Consumer: c.Consumer}
	if err := errors.Join(c.NATS.Check(), source.Validate(), c.Database.Check()); err != nil {
		return flags.Usage(err)
	}
	q := &statusQuestion{statusCmd: c, config: source, log: p.log}
	defer q.close()
	if c.Watch > 0 {
		q.log = slog.New(slog.DiscardHandler) // its lines would run through the picture; what is wrong is in it
		return q.watch(ctx, p)
	}
	r := q.ask(ctx, p)
	if err := r.print(p.out, p, p.screen()); err != nil {
		return err
	}
	switch {
	case r.Faults != nil:
		return errTold
	case c.ExitCode && (r.Verdict.Person || r.Verdict.Stopped):
		return errNeeds
	}
	return nil
}

// watch shows the status again and again.
func (q *statusQuestion) watch(ctx context.Context, p *program) error {
	s := p.screen()
	if s.Terminal {
		fmt.Fprint(p.out, "\x1b[?25l\x1b[2J") // the cursor hidden, the screen cleared
		defer fmt.Fprint(p.out, "\x1b[?25h")
	}
	tick := time.NewTicker(time.Duration(q.Watch))
	defer tick.Stop()
	for {
		r := q.ask(ctx, p)
		if ctx.Err() != nil {
			return nil
		}
		var b bytes.Buffer
		s := p.screen() // it may have another size by now
		if err := r.print(&b, p, s); err != nil {
			return err
		}
		text := b.String()
		switch {
		case s.Terminal: // over what is there, line by line, so that nothing flickers
			text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
		case p.Output == "text":
			text += "\n"
		}
		if _, err := io.WriteString(p.out, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// statusQuestion asks the parts, and keeps what connects to them from one time to the next.
type statusQuestion struct {
	*statusCmd
	config jetstream.Config
	log    *slog.Logger
	store  *outbox.Store
	nc     *nats.Conn
	source *jetstream.Source
}

// statusPatience bounds what one part is waited for.
const statusPatience = 5 * time.Second

func (q *statusQuestion) ask(ctx context.Context, p *program) *statusReport {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	var r statusReport
	var natsErr, databaseErr error
	var parts sync.WaitGroup
	parts.Go(func() { r.Backlog, natsErr = q.backlog(ctx) })
	parts.Go(func() { r.Status, databaseErr = q.database(ctx) })
	parts.Wait()
	for _, part := range []struct {
		name string
		err  error
	}{{"database", databaseErr}, {"NATS", natsErr}} {
		if part.err != nil {
			r.Faults = append(r.Faults, statusFail{part.name, view.OneLine(part.err.Error())})
		}
	}
	if r.Faults == nil {
		r.Scaling = scalingOf(&r.Status.Snapshot, r.Backlog)
	}
	if r.Status != nil {
		p.redactGroups(r.Groups)
	}
	r.Verdict = operator.Judge(q.sight(&r, databaseErr, natsErr))
	return &r
}

// startNATSDo is what to do where NATS can't be reached.
const startNATSDo = "see that nats-server runs, and that --nats-url is right; events wait in the stream, and workers " +
	"connect again by themselves"

// sight is what was found, as the verdict takes it.
func (q *statusQuestion) sight(r *statusReport, databaseErr, natsErr error) operator.Sight {
	s := operator.Sight{At: time.Now(), Status: r.Status, Fault: outbox.FaultOf(databaseErr)}
	if r.Status != nil {
		s.At = r.At
	}
	if databaseErr != nil {
		s.FaultWhy = view.OneLine(databaseErr.Error())
	}
	if b := r.Backlog; b != nil {
		s.Stream = &operator.Stream{Name: b.Stream, Pending: b.Pending, Unacked: b.Unacked, Stranded: b.Stranded,
			StrandedDo: b.Advice}
		if !b.PausedUntil.IsZero() {
			s.Stream.Paused = []operator.PausedConsumer{{Name: b.Consumer, Until: b.PausedUntil}}
		}
	}
	if natsErr != nil {
		s.StreamWhy, s.StreamDo = view.OneLine(natsErr.Error()), "do what it says; workers go on by themselves then"
		if q.nc == nil || !q.nc.IsConnected() {
			s.StreamDo = startNATSDo
		}
	}
	return s
}

// scalingOf is fleet.Member.Autoscale, from outside of the fleet.
func scalingOf(s *outbox.Snapshot, b *backlog) *scaling {
	l := fleet.Load{Backlog: b.Pending + b.Unacked, Batch: hubspot.MaxInputs}
	for _, e := range s.Events {
		if e.Status == outbox.Retry || e.Status == outbox.Unknown {
			l.Backlog += int(e.Events)
		}
	}
	var can []outbox.Capacity
	for _, w := range s.Workers {
		if w.Alive {
			can = append(can, w.Capacity)
			l.Batch = w.Batch
		}
	}
	l.Add(can)
	if q := s.Quota; q != nil && q.Effective > 0 {
		l.Calls, l.Used = q.Effective, q.Used
		l.Window = time.Duration(q.Window)
		if !q.BlockedUntil.IsZero() {
			l.Blocked = q.BlockedUntil.Sub(s.At)
		}
	}
	l.Paused = slices.ContainsFunc(s.Pauses, func(p outbox.Pause) bool { return p.ObjectType == outbox.Account })
	trouble := !b.PausedUntil.IsZero() || s.ReadOnly || len(s.Locks) > 0 ||
		slices.ContainsFunc(s.Workers, func(w outbox.Worker) bool {
			return w.Alive && (w.Told.CRM != nil ||
				w.Told.Database != nil)
		})
	l.Partly = trouble || len(s.Pauses) > 0
	signals := l.Autoscale()
	x := &scaling{
		Events: l.Backlog, FleetRate: signals.FleetRate, QuotaLimits: signals.QuotaLimits && !trouble,
		Workers: l.Workers, WorkersWanted: signals.WorkersWanted,
	}
	if !math.IsInf(signals.QuotaRate, 1) {
		x.QuotaRate = signals.QuotaRate
	}
	if signals.Empty > 0 {
		x.Empty = max(signals.Empty, time.Second).Round(time.Second).String()
	}
	return x
}

func (q *statusQuestion) backlog(ctx context.Context) (b *backlog, err error) {
	if q.nc == nil {
		if q.nc, err = q.Connect("crmintake status", q.log); err != nil {
			return nil, err
		}
	}
	if q.source == nil {
		if q.source, err = jetstream.Open(ctx, q.nc, q.config); err != nil {
			return nil, err
		}
	}
	b = &backlog{Stream: q.Stream, Consumer: q.Consumer}
	if b.Pending, b.Unacked, err = q.source.Outstanding(ctx); err != nil {
		return nil, err
	}
	b.Lanes = q.source.Lanes()
	if paused := q.source.PausedFor(); paused > 0 {
		b.PausedUntil = time.Now().Add(paused)
	}
	if b.Stranded, b.Advice, err = q.source.Stranded(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

func (q *statusQuestion) database(ctx context.Context) (s *operator.Status, err error) {
	if q.store == nil {
		if q.store, err = openStore(ctx, q.Database, 2); err != nil {
			return nil, err
		}
	}
	status, err := operator.New(q.store, operator.Config{}).Status(ctx)
	if err != nil {
		return nil, err
	}
	return &status, nil
}

func (q *statusQuestion) close() {
	if q.store != nil {
		q.store.Close()
	}
	if q.nc != nil {
		q.nc.Close()
	}
}
