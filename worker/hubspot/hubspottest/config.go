package hubspottest

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Config.
const (
	DefaultVersion     = "2026-03"
	DefaultMaxRequest  = 64 << 20
	DefaultLargeAnswer = 40 << 20
	DefaultDelay       = 35 * time.Second
	DefaultRetryAfter  = 2 * time.Second
)

// Config is what the simulated account looks like and how it behaves. The zero value of a field means its default.
type Config struct {
	// Token is the bearer token that is accepted. Required without OAuth.
	Token string
	// OAuth is an app's grant, whose access tokens are accepted too.
	OAuth *OAuth
	// Version is the API's version in the path.
	Version string
	// ObjectTypes are the object types of the account. Those that are not listed answer 400.
	ObjectTypes map[string]ObjectType

	// Limit is the rolling quota of calls; no quota by default.
	Limit Limit
	// Daily is how many calls a day (UTC, by Now) are answered; 0 means no limit.
	Daily int

	// MinTransit and MaxTransit bound the random time that a request is under way before the quota sees it. Both are 0
	// by default.
	MinTransit, MaxTransit time.Duration

	// MinLatency and MaxLatency bound the random time that a call takes before its work begins. Both are 0 by default.
	MinLatency, MaxLatency time.Duration

	// Rates and ReadRates say how often each fault happens by chance to a create and to a read call, from 0 to 1. A
	// call meets one fault at most, so the rates of one map add up to 1 at most.
	Rates, ReadRates map[Fault]float64
	// Seed makes chance repeatable, as far as the order of calls is: two CRMs with the same Seed that get the same
	// calls one after the other meet the same faults.
	Seed uint64

	// Delay is how long SlowAnswer and LateWork wait. The default outlasts a call timeout of 30 seconds.
	Delay time.Duration
	// RetryAfter is what the faults with a Retry-After header ask for, rounded up to whole seconds.
	RetryAfter time.Duration
	// MaxRequest is the largest request body in bytes; a larger one is answered 413.
	MaxRequest int64
	// LargeAnswer is the size in bytes of LargeBody's answer.
	LargeAnswer int64

	// KeepProperties keeps all properties of each record and not only those that are unique or counted.
	KeepProperties bool
	// KeepCalls is how many of the last requests Calls tells of.
	KeepCalls int

	// Now is the CRM's clock, by which records and answers (their Date header) are dated and days turn; time.Now by
	// default. The rolling quota and all waits go by real time. It may be called by many goroutines at once.
	Now func() time.Time
}

// Limit is a rolling quota: no interval of the length Window holds more than Calls calls. With Calls 0 nothing is
// limited, and Stats.MostInWindow is measured if there is a Window.
type Limit struct {
	Calls  int
	Window time.Duration
}

func (l Limit) validate() error {
	if l.Calls < 0 || l.Window < 0 || l.Calls > 0 && l.Window == 0 {
		return fmt.Errorf("limit of %d calls in %v: want a number and a window above 0, or none", l.Calls, l.Window)
	}
	return nil
}

// ObjectType describes one object type. The zero value takes any property and knows no unique one.
type ObjectType struct {
	// Properties are the names that exist, besides those in the fields below; nil means any. Another one makes its
	// input invalid (PROPERTY_DOESNT_EXIST).
	Properties []string
	// Unique are the properties with hasUniqueValue.
	Unique []string
	// Required are the properties without which an input is invalid.
	Required []string
	// Types are the types of properties that are not single-line text. They change no value.
	Types map[string]PropertyType
	// Counted are the properties whose values Count counts, besides the unique ones.
	Counted []string
	// Sensitive are the properties that want a scope which the credential has not: a call with an input that sets one
	// is refused as a whole, 403 MISSING_SCOPES.
	Sensitive []string
	// Kept is, by property, the form in which the account keeps values. Records are unique by what is kept, a read finds
	// them by any value that is kept so, and what is kept is what comes back. Emails are lower-cased before that.
	Kept map[string]Fold
	// Targets are the ids of the records that associations can name; nil means that every target exists.
	Targets []string
	// MissingTarget is what becomes of an input that names another one.
	MissingTarget MissingTarget
	// ReadOnly object types answer a create with 405.
	ReadOnly bool
}

// MissingTarget is what an account makes of an association whose target does not exist.
type MissingTarget int

const (
	// TargetRejected rejects the input.
	TargetRejected MissingTarget = iota
	// TargetRefused refuses the whole call, 404 OBJECT_NOT_FOUND. Nothing is written, nobody named.
	TargetRefused
	// TargetDropped creates the record without this association, and says nothing of it.
	TargetDropped
)

// PropertyType is what the properties API says of a property, as {"number", "number"} or {"string", "phonenumber"}.
type PropertyType struct{ Type, FieldType string }

func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	if c.MaxLatency < c.MinLatency {
		c.MaxLatency = c.MinLatency
	}
	if c.MaxTransit < c.MinTransit {
		c.MaxTransit = c.MinTransit
	}
	if c.Delay == 0 {
		c.Delay = DefaultDelay
	}
	if c.RetryAfter == 0 {
		c.RetryAfter = DefaultRetryAfter
	}
	if c.MaxRequest == 0 {
		c.MaxRequest = DefaultMaxRequest
	}
	if c.LargeAnswer == 0 {
		c.LargeAnswer = DefaultLargeAnswer
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate returns all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Token == "" && c.OAuth == nil {
		errs = append(errs, errors.New("token: there is none"))
	}
	errs = append(errs, c.OAuth.validate())
	errs = append(errs, c.Limit.validate())
	if c.Daily < 0 {
		errs = append(errs, fmt.Errorf("daily limit %d: less than 0", c.Daily))
	}
	if c.MinTransit < 0 || c.MaxTransit < 0 {
		errs = append(errs, errors.New("transit: less than 0"))
	}
	if c.MinLatency < 0 || c.MaxLatency < 0 || c.Delay < 0 || c.RetryAfter < 0 {
		errs = append(errs, errors.New("latency, delay and retry after: less than 0"))
	}
	if c.MaxRequest < 0 || c.LargeAnswer < 0 || c.KeepCalls < 0 {
		errs = append(errs, errors.New("max request, large answer and keep calls: less than 0"))
	}
	_, err := newChance(c.Rates, false)
	errs = append(errs, err)
	_, err = newChance(c.ReadRates, true)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("hubspottest: %w", err)
	}
	return nil
}
