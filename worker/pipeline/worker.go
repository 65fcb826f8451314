package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker"
	"crmintake/worker/pipeline/internal/inflight"
	"crmintake/worker/pipeline/internal/limiter"
	"crmintake/worker/pipeline/internal/pauses"
)

// Worker moves events from a Source through a CRM into the outbox. New makes one.
type Worker struct {
	cfg    Config
	source worker.Source
	store  *outbox.Store
	crm    worker.CRM
	log    *slog.Logger
	judge  judge

	database, stream *failureLog
	refusals         *refusals          // by the database
	calling          *failureLog        // the CRM; once it is taken to be down
	operator         *operator.Operator // who only looks
	sight            sight
	replays          *operator.Feeder
	replaying        *failureLog
	grace            grace
	agedAt           time.Time // when this worker last looked for what became too old in a pause; house-keeping's own
	metrics          *Metrics

	inflight *inflight.Set
	limiter  *limiter.Limiter
	calls    callTime
	untold   untold

	waiting   *waiting
	due       *dueList
	pauses    pauses.Set
	backoff   pauses.Backoff
	windows   pauses.Windows
	successes pauses.Successes
	reads     *pauses.Reads
	suspects  *pauses.Suspects

	wake      signal                    // the dispatcher's
	active    atomic.Int64              // calls under way, with what goes before and after them
	freshNext bool                      // whose turn it is, where both fresh and due events wait; the dispatcher's own
	newUntil  atomic.Pointer[time.Time] // what is new and was published before is asked about before it is sent
	done      atomic.Int64              // when what a call came to was last committed, in nanoseconds since 1970; 0: never

	toldMu   sync.Mutex // guards what others are told
	unwell   unwell
	readLogs map[string]*failureLog // by object type: reads that are refused

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
	cfg = cfg.withDefaults()
	metrics := cfg.Metrics
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	w := &Worker{
		cfg: cfg, source: source, store: store, crm: crm, log: log,
		judge: judge{retry: cfg.Retry, onConflict: cfg.OnConflict, settle: cfg.Settle, keep: cfg.KeepPayload},
		database: &failureLog{log: log, what: "the database", quiet: outageQuiet,
			cause: func(err error) string { return string(outbox.FaultOf(err)) }},
		refusals:  &refusals{log: log, told: map[string]time.Time{}},
		stream:    &failureLog{log: log, what: "the stream", quiet: outageQuiet},
		calling:   &failureLog{log: log, what: "the CRM"}, // it is down only after several failures in a row
		operator:  operator.New(store, operator.Config{}),
		replays:   operator.NewFeeder(store, operator.Records{Property: cfg.IDProperty, Value: IDValue}),
		replaying: &failureLog{log: log, what: "replaying dead events"},
		metrics:   metrics,
		wake:      newSignal(),
		waiting:   newWaiting(cfg.Batch),
		due:       newDueList(),
		reads:     pauses.NewReads(cfg.TrialInterval),
		suspects:  pauses.NewSuspects(cfg.TrialInterval),
		readLogs:  map[string]*failureLog{},
		inflight: inflight.New(inflight.Config{
			Memory: cfg.Memory, Calls: cfg.InFlight, BatchSize: cfg.Batch.Size, AckWait: cfg.AckWait}),
	}
	w.limiter = limiter.New(limiter.Config{Quota: cfg.Quota.shared(), Store: store.Quota,
		Retry: func(ctx context.Context, do func(context.Context) error) error { return w.retryWrite(ctx, ctx, do) }})
	metrics.worker.Store(w)
	return w, nil
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
	// ctx says when to take on nothing more, calls when to cut calls off, writes when to give up altogether.
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
	group.Go(func() error { return w.watchPauses(ctx, writes, known) })
	group.Go(after(func() error { return w.intake(ctx, writes) }))
	group.Go(after(func() error { return w.dispatch(ctx, calls, writes) }))
	group.Go(func() error { return w.runMaintenance(ctx, writes) })
	group.Go(func() error { return w.runAckExtension(ctx) })
	group.Go(func() error { return w.runRetention(ctx, writes) })
	if w.cfg.Drain {
		group.Go(func() error { return w.watchDrain(ctx) })
	}
	if w.cfg.Metrics != nil {
		group.Go(func() error { return w.watchFleet(ctx) })
	}
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

// drained tells whether nothing is in hand, in the stream or in the outbox. The stream is asked first: what left it is
// in the outbox by then. Without an answer it is not so; intake tells why.
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
func (w *Worker) wakeUp() {
	w.wake.set()
	w.inflight.Wake()
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
