package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker"
	"crmintake/worker/fleet"
	"crmintake/worker/pipeline/internal/inflight"
	"crmintake/worker/pipeline/internal/limiter"
	"crmintake/worker/pipeline/internal/pauses"
)

func (p *parts) newAttempt(objectType string) outbox.Attempt {
	return outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: objectType, Worker: p.cfg.Name, Lease: p.cfg.Lease,
		IDProperty: p.cfg.IDProperty[objectType]}
}

// Worker moves events from a Source through a CRM into the outbox. New makes one.
type Worker struct {
	*parts
	intake      *intake
	dispatcher  *dispatcher
	acks        *acker
	follower    *follower
	maintenance *maintenance
	cleaner     *cleaner
}

// parts is what the stages of the pipeline share. What changes of it has a lock of its own, which nobody holds while he
// asks another part.
type parts struct {
	cfg     Config
	source  worker.Source
	store   *outbox.Store
	crm     worker.CRM
	log     *slog.Logger
	metrics *Metrics
	traces  *tracer
	judge   judge
	retry   *retrier

	database *failureLog
	stream   *failureLog
	calling  *failureLog // the CRM, once it is taken to be down

	inflight  *inflight.Set    // what is in hand
	waiting   *waiting         // the fresh events of it that are not cut yet
	due       *dueList         // what is due in the outbox
	limiter   *limiter.Limiter // the right to call, by the quota
	pauses    pauses.Set       // and by the pauses
	backoff   pauses.Backoff   // and by how the CRM is
	windows   pauses.Windows   // and by how many calls are under way
	successes pauses.Successes // what the breaker has to hear of
	reads     *pauses.Reads    // when events in doubt are asked about
	suspects  *pauses.Suspects // inputs that may be at fault for the refusal of others
	readLogs  failureLogs      // reads that are refused
	fleet     *fleet.Member    // what all workers tell each other

	wake     signal                    // the dispatcher's
	active   atomic.Int64              // calls under way, with what goes before and after them
	newUntil atomic.Pointer[time.Time] // what is new and was published before is asked about before it is sent

	events      slicePool[outbox.Event]
	inputs      slicePool[worker.Input]
	rows        slicePool[row]
	settlements slicePool[outbox.Settlement]
}

// New makes a Worker. It starts nothing.
func New(cfg Config, source worker.Source, store *outbox.Store, crm worker.CRM, log *slog.Logger) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := wire(newParts(cfg.withDefaults(), source, store, crm, log))
	w.metrics.worker.Store(w)
	return w, nil
}

func newParts(cfg Config, source worker.Source, store *outbox.Store, crm worker.CRM, log *slog.Logger) *parts {
	p := &parts{
		cfg: cfg, source: source, store: store, crm: crm, log: log, metrics: cfg.Metrics, traces: newTracer(cfg.Tracer),
		judge: judge{retry: cfg.Retry, onConflict: cfg.OnConflict, settle: cfg.Settle, keep: cfg.KeepPayload},
		database: &failureLog{log: log, what: "the database", quiet: outageQuiet,
			cause: func(err error) string { return string(outbox.FaultOf(err)) }},
		stream:  &failureLog{log: log, what: "the stream", quiet: outageQuiet},
		calling: &failureLog{log: log, what: "the CRM"}, // it is down only after several failures in a row
		inflight: inflight.New(inflight.Config{
			Memory: cfg.Memory, Calls: cfg.InFlight, BatchSize: cfg.Batch.Size, AckWait: cfg.AckWait}),
		waiting:  newWaiting(cfg.Batch),
		due:      newDueList(),
		reads:    pauses.NewReads(cfg.TrialInterval),
		suspects: pauses.NewSuspects(cfg.TrialInterval),
		wake:     newSignal(),
	}
	if p.metrics == nil {
		p.metrics = NewMetrics(nil)
	}
	p.retry = &retrier{database: p.database, refusals: &refusals{log: log, told: map[string]time.Time{}}}
	p.limiter = limiter.New(limiter.Config{Quota: cfg.Quota.shared(), Store: store.Quota,
		Retry: func(ctx context.Context, do func(context.Context) error) error { return p.retry.write(ctx, ctx, do) }})
	f := fleet.Config{Name: cfg.Name, Settings: cfg.settings(), Slots: cfg.InFlight, Batch: cfg.Batch.Size,
		Quota: cfg.Quota.shared(), Store: store, Stream: source, Self: self{p}}
	if cfg.Metrics != nil {
		f.Metrics = cfg.Metrics.fleet
	}
	p.fleet = fleet.New(f)
	return p
}

// wire makes the stages. Each knows those that it calls.
func wire(p *parts) *Worker {
	w := &Worker{parts: p, acks: &acker{p}, cleaner: &cleaner{p}}
	plan, dead, pauser := &planner{parts: p}, &deadLetters{p}, &pauser{p, w.acks}
	feedback := &feedback{p, pauser}
	outcomes := &outcomes{p, feedback}
	caller := &caller{p, pauser, feedback, outcomes}
	doubts := &doubts{p, feedback, caller, outcomes}
	splitter := &splitter{p, pauser, caller, outcomes}
	attempts := &attempts{p, w.acks, dead, feedback, caller, outcomes, splitter, doubts}
	w.intake = &intake{p, w.acks, dead, plan}
	w.dispatcher = &dispatcher{p, plan, w.acks, caller, attempts}
	w.follower = &follower{parts: p, pauser: pauser}
	w.maintenance = &maintenance{parts: p, rescuer: &rescuer{parts: p},
		replays:   operator.NewFeeder(p.store, operator.Records{Property: p.cfg.IDProperty, Value: IDValue}),
		replaying: &failureLog{log: p.log, what: "replaying dead events"}}
	return w
}

// outageQuiet: of many that use a server at once, some are told of an outage's failures after others have seen its end.
const outageQuiet = 2 * time.Second

// errDrained ends the group when nothing is left to do.
var errDrained = errors.New("drained")

// cutReserve is the part of the shutdown timeout that is left for outcomes once the last calls are cut off.
const cutReserve = 3 * time.Second

// Run works until ctx ends, or, with Config.Drain, until nothing is left. Then it fetches nothing more, gives back what
// was not sent, lets the calls under way end and commits their outcomes, for at most Config.ShutdownTimeout. It returns
// an error only if that did not suffice; nothing is lost then either.
func (w *Worker) Run(ctx context.Context) error {
	// The end of ctx is when to take on nothing more, that of calls when to cut calls off, that of writes when to give
	// up.
	writes, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	calls, cutOff := context.WithCancel(writes)
	defer cutOff()

	group, ctx := errgroup.WithContext(ctx)
	known := make(chan struct{}) // closed once this worker knows what is paused: before, it takes nothing
	after := func(do func() error) func() error {
		return func() error {
			select {
			case <-known:
				return do()
			case <-ctx.Done():
				return nil
			}
		}
	}
	group.Go(func() error { return w.follower.run(ctx, writes, known) })
	group.Go(after(func() error { return w.intake.run(ctx, writes) }))
	group.Go(after(func() error { return w.dispatcher.run(ctx, calls, writes) }))
	group.Go(func() error { return w.maintenance.run(ctx, writes) })
	group.Go(func() error { return w.acks.extend(ctx) })
	group.Go(func() error { return w.cleaner.run(ctx, writes) })
	if w.cfg.Drain {
		group.Go(func() error { return w.watchDrain(ctx) })
	}
	group.Go(func() error { return w.fleet.Run(ctx) })
	stopping := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopping)
		w.log.Debug("stopping: what is under way is finished")
		w.wakeUp()
		hard := time.AfterFunc(max(w.cfg.ShutdownTimeout-cutReserve, w.cfg.ShutdownTimeout/2), cutOff)
		last := time.AfterFunc(w.cfg.ShutdownTimeout, func() {
			giveUp(fmt.Errorf("not all could be finished within the shutdown timeout of %v", w.cfg.ShutdownTimeout))
		})
		context.AfterFunc(writes, func() { hard.Stop(); last.Stop() })
	})
	defer func() {
		if !stop() {
			<-stopping // it has begun, and is not to outlive Run
		}
	}()

	err := group.Wait()
	if errors.Is(err, errDrained) {
		err = nil
	}
	if cause := context.Cause(writes); err == nil && cause != nil {
		err = fmt.Errorf("stopped: %w; it is delivered again or found by its lease", cause)
	}
	return err
}

// watchDrain ends the group when the stream and the outbox have nothing left to do. What the stream will give to nobody
// is no end, but a failure. That is asked about before the rest is looked at for the last time: the source may have
// mended it meanwhile.
func (w *Worker) watchDrain(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var stranded time.Time // since when; zero: nothing is
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !w.drained(ctx) {
			continue
		}
		n, what, err := w.source.Stranded(ctx)
		switch {
		case err != nil:
		case n == 0 && w.drained(ctx):
			return errDrained
		case n == 0:
			stranded = time.Time{}
		case stranded.IsZero():
			stranded = time.Now()
		case time.Since(stranded) > strandedPatience:
			return errors.New("not all is done: " + what)
		}
	}
}

// drained reports whether nothing is in hand, in the stream or in the outbox. The stream is asked first: what left it
// is in the outbox by then. Without an answer it is not so; intake tells why.
func (w *Worker) drained(ctx context.Context) bool {
	if w.busy() {
		return false
	}
	if pending, unacked, err := w.source.Outstanding(ctx); err != nil || pending > 0 || unacked > 0 {
		return false
	}
	left, err := w.store.Schedule.Outstanding(ctx)
	return err == nil && !left
}

// strandedPatience is what the source has to mend what is stranded, before a drain fails for it.
const strandedPatience = 15 * time.Second

func (w *Worker) busy() bool { return w.inflight.Events() > 0 || w.active.Load() > 0 }

// wakeUp makes dispatcher and intake look at what has changed.
func (p *parts) wakeUp() {
	p.wake.set()
	p.inflight.Wake()
}

// sleep waits, and reports false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
