package fleet

import (
	"context"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// Stream is where the backlog is. worker.Source says what its methods promise.
type Stream interface {
	Outstanding(ctx context.Context) (pending, unacked int, err error)
	Stranded(ctx context.Context) (events int, what string, err error)
	PausedFor() time.Duration
}

// Self is what the pipeline knows of this worker. Its methods ask nobody, and may be called at any time by any
// goroutine.
type Self interface {
	// State is how this worker is now.
	State() State
	// StreamAnswered is called when the stream has said what it holds. Nothing else shows that it works where nothing
	// is fetched, because of a pause or because nothing more may be taken in hand.
	StreamAnswered()
}

// State is how a worker is at one moment. Times are by this process's clock.
type State struct {
	Pauses           []Pause           // those that it knows of, by object type
	HeldUntil        time.Time         // no call before, because of what the CRM's last answers were; zero: calls are made
	Database, Stream Outage            // the zero value: it works
	Reads            map[string]Outage // by object type: reads that the CRM refuses
}

// Pause is a pause as a worker knows it.
type Pause struct {
	ObjectType string // or outbox.Account
	Cause      outbox.Cause
	TrialAt    time.Time // when it is tried; of a person's it never is
}

// Outage is a failure that goes on.
type Outage struct {
	Lasting time.Duration // by now; 0: all is well
	Err     error         // the last failure's
}

// trouble is what an outage is to others; nil if there is none.
func (o Outage) trouble(now time.Time) *outbox.Trouble {
	if o.Err == nil {
		return nil
	}
	return &outbox.Trouble{Why: o.Err.Error(), Since: now.Add(-o.Lasting)}
}

// Config says who this worker is, and whom it asks. All is required but Metrics.
type Config struct {
	Name     string
	Settings map[string]string // those that all workers are to have alike, by their flags' names
	Slots    int               // calls at once
	Batch    int               // records that a call takes
	Quota    outbox.Quota      // no Calls: none
	Store    *outbox.Store
	Stream   Stream
	Self     Self
	Metrics  *Metrics // nil: nobody looks at them, and Run takes no snapshots
}

// Member is a worker as one of the fleet. New makes one.
type Member struct {
	cfg      Config
	report   report
	operator *operator.Operator // who only looks
	seen     seen
}

// New makes a Member. It starts nothing. Config.Metrics show this Member from now on.
func New(cfg Config) *Member {
	m := &Member{cfg: cfg, operator: operator.New(cfg.Store, operator.Config{})}
	if cfg.Metrics != nil {
		cfg.Metrics.member.Store(m)
	}
	return m
}

// Heartbeat says that this worker is there, what it could do, and what is in its way. The error is the database's.
func (m *Member) Heartbeat(ctx context.Context) error {
	state := m.cfg.Self.State()
	return m.cfg.Store.Fleet.Heartbeat(ctx, m.cfg.Name, m.report.capacity(m.cfg.Slots, m.cfg.Batch), m.told(&state))
}

// Leave says that this worker is no more. If that fails, its silence says it.
func (m *Member) Leave(ctx context.Context) error {
	return m.cfg.Store.Fleet.Deregister(ctx, m.cfg.Name)
}

// told is what this worker says of itself.
func (m *Member) told(s *State) outbox.Told {
	now := time.Now()
	t := outbox.Told{At: now, Settings: m.cfg.Settings, Stream: s.Stream.trouble(now), Database: s.Database.trouble(now)}
	if t.Database != nil {
		t.Database.Kind = string(outbox.FaultOf(s.Database.Err))
	}
	t.Done, t.CRM = m.report.read()
	if t.CRM != nil && s.HeldUntil.After(now) {
		t.CRM.Until = s.HeldUntil
	}
	for objectType, o := range s.Reads {
		if trouble := o.trouble(now); trouble != nil {
			if t.Reads == nil {
				t.Reads = map[string]*outbox.Trouble{}
			}
			t.Reads[objectType] = trouble
		}
	}
	return t
}

// snapshotAfterStart is how long a worker that starts leaves the first snapshot alone: its first calls are more urgent,
// and would wait for one more connection.
const snapshotAfterStart = 500 * time.Millisecond

// snapshotEvery is how often the figures of the fleet are brought up to date.
const snapshotEvery = 10 * time.Second

// Run keeps Sight and the metrics of the fleet up to date, until ctx ends. It returns nil.
func (m *Member) Run(ctx context.Context) error {
	if m.cfg.Metrics == nil {
		return nil
	}
	for wait := snapshotAfterStart; sleep(ctx, wait); wait = snapshotEvery {
		s := m.snapshot(ctx)
		state := m.cfg.Self.State()
		m.cfg.Metrics.show(&s, m.load(&s, &state), m.cfg.Quota)
		m.seen.keep(&s, m.cfg.Stream.PausedFor())
	}
	return nil
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
