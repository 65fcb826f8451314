package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"crmintake/batcher"
	"crmintake/worker"
	"crmintake/worker/event"
)

// OnUnknown says what becomes of an event whose call may or may not have been applied, where nothing can be asked about
// it.
type OnUnknown string

const (
	Park   OnUnknown = "park"   // dead, for a person to decide
	Resend OnUnknown = "resend" // sent again, and marked as a possible duplicate
)

// OnConflict says what becomes of an event whose unique value belongs to a record that was there before it.
type OnConflict string

const (
	Bury  OnConflict = "dead"  // a dead letter that names the record
	Adopt OnConflict = "adopt" // the record counts as the event's
)

// Config says how to work. The zero value of a field means its default.
type Config struct {
	// Name is this worker's, for logs and attempts. Required.
	Name string
	// Batch bounds a call.
	Batch batcher.Config
	// InFlight is how many calls are made at once. The default suits an account's quota of 19 calls a second with calls
	// of up to a second and a half.
	InFlight int
	// Memory is about how many bytes the events in hand may take up.
	Memory int
	// CallTimeout is how long a call may take.
	CallTimeout time.Duration
	// Lease is how long nobody else touches the rows of a call; it must outlast the call.
	Lease time.Duration
	// AckWait is how long the stream waits for an ack; what is in hand for longer asks for more time. Required.
	AckWait time.Duration
	// Quota is how many calls in any window the fleet makes; no calls means no limit.
	Quota Quota
	// TrialInterval is how often a pause is tried.
	TrialInterval time.Duration
	// Breaker says when an object type is paused because most of its inputs are rejected.
	Breaker Breaker
	// IDProperty is the id property of each object type that has one.
	IDProperty map[string]string
	// OnUnknown is for object types that have neither an id property nor a word of their own in OnUnknownOf.
	OnUnknown   OnUnknown
	OnUnknownOf map[string]OnUnknown // by object type
	OnConflict  OnConflict
	// Settle is how long after an ambiguous call it is taken as finished, one way or the other.
	Settle time.Duration
	Retry  Retry
	// KeepPayload keeps the event of a created record.
	KeepPayload bool
	// KeepCreated is how long the row of a created record stays; less than 0 for ever. It must outlast the time after
	// which the same event may come again, which is a new one then.
	KeepCreated time.Duration
	// ShutdownTimeout is how long Run may take to return once it was told to stop.
	ShutdownTimeout time.Duration
	// Drain makes Run return once nothing is left to do.
	Drain bool
	// Metrics are told what the worker does; of one worker only. nil means that nobody looks at them.
	Metrics *Metrics
	// Tracer makes the spans of batches; nil for none.
	Tracer trace.Tracer
}

// Quota is what one account allows the fleet. All workers are to be told the same.
type Quota struct {
	Calls  int // in any Window
	Window time.Duration
	// Reserve is the share of all this that is left to other apps: from 0 to less than 1.
	Reserve float64
	// Daily is how many calls the fleet makes a day, which begins at midnight in Location (nil is UTC); 0 for any
	// number.
	Daily    int
	Location *time.Location
}

// Breaker: an object type is paused when more than Share of its last Window inputs, of the whole fleet, were rejected
// for the same reason. Off leaves out the congestion windows too, which are there for it.
type Breaker struct {
	Off    bool
	Share  float64 // above 0 and below 1
	Window int
}

// Retry says when, and how often, what was certainly not applied is sent again.
type Retry struct {
	// the first wait and the longest; each is drawn from between nothing and twice as much as before
	Initial, Max time.Duration
	Attempts     int           // how many calls an event takes part in before it is dead
	Age          time.Duration // how old it gets before
}

// Defaults of Config.
const (
	DefaultInFlight        = 32
	DefaultMemory          = 64 << 20
	DefaultLease           = 60 * time.Second
	DefaultTrialInterval   = 15 * time.Second
	DefaultBreakerShare    = 0.5
	DefaultBreakerWindow   = 500
	DefaultSettle          = 10 * time.Second
	DefaultRetryInitial    = time.Second
	DefaultRetryMax        = time.Hour
	DefaultRetryAttempts   = 12
	DefaultRetryAge        = 24 * time.Hour
	DefaultKeepCreated     = 30 * 24 * time.Hour
	DefaultShutdownTimeout = 20 * time.Second
)

// leaseMargin is how long before the lease's end a call must be over, for clocks that don't run quite alike.
const leaseMargin = time.Second

// minAckWait leaves time to tell the stream, a few times, that an event is in hand.
const minAckWait = 2 * time.Second

// maxBreakerWindow keeps the window's rows few.
const maxBreakerWindow = 100_000

// minMemory leaves room for the largest event as it arrives, with what is sent of it.
const minMemory = 8 << 20

func orDefault[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

func (c Config) withDefaults() Config {
	orDefault(&c.Batch.Size, batcher.DefaultSize)
	orDefault(&c.Batch.Bytes, batcher.DefaultBytes)
	orDefault(&c.Batch.Wait, batcher.DefaultWait)
	orDefault(&c.InFlight, DefaultInFlight)
	orDefault(&c.Memory, DefaultMemory)
	orDefault(&c.CallTimeout, worker.DefaultCallTimeout)
	orDefault(&c.Lease, DefaultLease)
	orDefault(&c.TrialInterval, DefaultTrialInterval)
	orDefault(&c.Breaker.Share, DefaultBreakerShare)
	orDefault(&c.Breaker.Window, DefaultBreakerWindow)
	orDefault(&c.OnUnknown, Park)
	orDefault(&c.OnConflict, Bury)
	orDefault(&c.Settle, DefaultSettle)
	orDefault(&c.Retry.Initial, DefaultRetryInitial)
	orDefault(&c.Retry.Max, DefaultRetryMax)
	orDefault(&c.Retry.Attempts, DefaultRetryAttempts)
	orDefault(&c.Retry.Age, DefaultRetryAge)
	orDefault(&c.KeepCreated, DefaultKeepCreated)
	orDefault(&c.ShutdownTimeout, DefaultShutdownTimeout)
	return c
}

// onUnknown says what becomes of an event in doubt of this object type, if nothing can be asked about it.
func (c Config) onUnknown(objectType string) OnUnknown {
	if how, ok := c.OnUnknownOf[objectType]; ok {
		return how
	}
	return c.OnUnknown
}

// Validate says what is wrong with the settings, and between them, all of it, each fault on a line of its own.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	faults = append(faults, c.Batch.Validate())
	fault(c.Name == "", "the worker has no name")
	fault(c.Batch.Size > batcher.DefaultSize, "batch size %d: the API takes at most %d inputs a call", c.Batch.Size,
		batcher.DefaultSize)
	fault(c.InFlight < 0, "in-flight %d is negative", c.InFlight)
	fault(c.Memory < minMemory, "memory %d: want at least %d bytes, for the largest events", c.Memory, minMemory)
	fault(c.Quota.Calls < 0 || c.Quota.Calls > 0 && c.Quota.Window <= 0,
		"quota %d/%v: want calls in a time, as 100/10s", c.Quota.Calls, c.Quota.Window)
	fault(!(c.Quota.Reserve >= 0 && c.Quota.Reserve < 1), "quota reserve %v: want a share below 1", c.Quota.Reserve)
	fault(c.Quota.Daily < 0, "quota a day %d is negative", c.Quota.Daily)
	fault(c.Quota.Calls == 0 && (c.Quota.Daily > 0 || c.Quota.Reserve > 0),
		"the quota is off: there is nothing to reserve of it, or to count by day")
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"call timeout", c.CallTimeout}, {"lease", c.Lease}, {"trial interval", c.TrialInterval}, {"settle", c.Settle},
		{"retry initial", c.Retry.Initial}, {"retry max", c.Retry.Max}, {"retry age", c.Retry.Age},
		{"shutdown timeout", c.ShutdownTimeout},
	} {
		fault(d.value < 0, "%s %v is negative", d.name, d.value)
	}
	fault(c.Lease <= c.CallTimeout+leaseMargin, "lease %v: must be longer than the call timeout of %v by more than %v, "+
		"or another worker takes an event for lost while its call is under way", c.Lease, c.CallTimeout, leaseMargin)
	fault(c.AckWait <= c.Batch.Wait, "ack wait %v: must be longer than the batch wait of %v, "+
		"or the stream delivers again what waits for its batch",
		c.AckWait, c.Batch.Wait)
	fault(c.AckWait < minAckWait, "ack wait %v: want at least %v, or the stream delivers again what is in hand",
		c.AckWait, minAckWait)
	fault(c.Retry.Max < c.Retry.Initial, "retry max %v is shorter than retry initial %v", c.Retry.Max, c.Retry.Initial)
	fault(!(c.Breaker.Share > 0 && c.Breaker.Share < 1) || c.Breaker.Window < 1 || c.Breaker.Window > maxBreakerWindow,
		"breaker %v of %d: want a share above 0 and below 1, of 1 to %d inputs", c.Breaker.Share, c.Breaker.Window, maxBreakerWindow)
	fault(c.Retry.Attempts < 0, "retry attempts %d is negative", c.Retry.Attempts)
	fault(c.OnUnknown != Park && c.OnUnknown != Resend, "on unknown %q: want park or resend", c.OnUnknown)
	for _, objectType := range slices.Sorted(maps.Keys(c.OnUnknownOf)) {
		how := c.OnUnknownOf[objectType]
		_, invalid := event.ObjectType(objectType, "")
		fault(invalid != "", "on unknown %q=%s: not an object type; want letters, digits, _ and -", objectType, how)
		fault(how != Park && how != Resend, "on unknown %s=%q: want park or resend", objectType, how)
		property := c.IDProperty[objectType]
		fault(property != "",
			"on unknown %s=%s has no effect beside the id property %q, by which the CRM is asked; leave out one of the two",
			objectType, how, property)
	}
	fault(c.OnConflict != Bury && c.OnConflict != Adopt, "on conflict %q: want dead or adopt", c.OnConflict)
	return errors.Join(faults...)
}
