package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has no time zones, as in a container with nothing but the program

	"github.com/alecthomas/units"
	"go.opentelemetry.io/otel/trace"

	"crmintake/batcher"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

type runCmd struct {
	natsFlags
	consumerFlags
	databaseFlags
	hubspotFlags
	callFlags
	outcomeFlags
	adminFlags
	profileFlags
	durableFlags

	Drain           bool          `help:"Exit with 0 once the consumer has nothing pending or unacknowledged, the stream nothing that is delivered to nobody, and no row is sending, retry or unknown."`
	ShutdownTimeout time.Duration `help:"How long to finish what is under way after SIGTERM or Ctrl-C; a second one exits at once." default:"20s" placeholder:"TIME"`
}

// hubspotFlags say where the CRM is, and who calls it.
type hubspotFlags struct {
	HubspotURL       string `name:"hubspot-url" help:"The API's address: https, or plain http to a loopback address." default:"https://api.hubapi.com" placeholder:"URL"`
	HubspotVersion   string `help:"The API's version, a part of its paths." default:"2026-03" placeholder:"VERSION"`
	HubspotToken     string `help:"The credential: a private app's or service key's token. Better given by its environment variable or by --hubspot-token-file: a command line is readable for all users." placeholder:"TOKEN"`
	HubspotTokenFile string `help:"A file with the credential. It is read again when it changes." placeholder:"FILE"`
	oauthFlags
}

// callFlags bound batches and calls.
type callFlags struct {
	BatchSize     int              `help:"Events a call at most; the API takes no more than 100." default:"100" placeholder:"N"`
	BatchBytes    units.Base2Bytes `help:"Bytes a call at most; only a larger event goes alone." default:"4MiB" placeholder:"SIZE"`
	BatchWait     time.Duration    `help:"How long an event waits at most for its batch to fill up." default:"500ms" placeholder:"TIME"`
	InFlight      int              `help:"Calls at once." default:"32" placeholder:"N"`
	Memory        units.Base2Bytes `help:"What the events in hand take up, about." default:"64MiB" placeholder:"SIZE"`
	CallTimeout   time.Duration    `help:"How long a call may take." default:"30s" placeholder:"TIME"`
	Lease         time.Duration    `help:"How long no other worker touches the events of a call; must outlast the call." default:"60s" placeholder:"TIME"`
	Quota         quotaFlag        `help:"Calls that all workers together make in any such time, as 190/10s; or off." default:"100/10s" placeholder:"CALLS/TIME"`
	QuotaReserve  shareFlag        `help:"Share of the quota, and of the day's, that is left to other apps of the account, as 20%." default:"0%" placeholder:"SHARE"`
	QuotaDaily    int              `help:"Calls that all workers together make in a day; 0 for any number." default:"0" placeholder:"N"`
	QuotaZone     zoneFlag         `help:"Time zone of the account, at whose midnight the day begins, as Europe/Berlin." default:"UTC" placeholder:"ZONE"`
	TrialInterval time.Duration    `help:"How often one call of the fleet tries whether a pause can end." default:"15s" placeholder:"TIME"`
	Breaker       breakerFlag      `help:"Pause an object type when more than so much of its last inputs was rejected for the same reason, as 50%/500; or off." default:"50%/500" placeholder:"SHARE%/INPUTS"`
}

// outcomeFlags say what becomes of events.
type outcomeFlags struct {
	IDProperty    idPropertyOfTypes `name:"id-property" help:"For each object type a property with unique values, by which its records can be found: objectType=property. Where an event has no value for it, the event's id goes there." placeholder:"TYPE=NAME,…"`
	OnUnknown     unknownRules      `help:"What to do with an event whose call may or may not have created its record, where there is no id property: park it for a person, or resend it and mark it as a possible duplicate. For one object type, as notes=resend; both may be given: park,notes=resend." default:"park" placeholder:"park|resend|TYPE=resend,…"`
	OnConflict    string            `help:"What to do with an event whose unique value a record has already: dead (a person decides), or adopt that record as the event's." enum:"dead,adopt" default:"dead" placeholder:"dead|adopt"`
	Settle        time.Duration     `help:"How long after an unanswered call to ask what became of it." default:"10s" placeholder:"TIME"`
	RetryInitial  time.Duration     `help:"The first wait before an event is sent again; each is about twice as long as the one before, at random." default:"1s" placeholder:"TIME"`
	RetryMax      time.Duration     `help:"The longest wait." default:"1h" placeholder:"TIME"`
	RetryAttempts int               `help:"Calls that an event takes part in before it is dead." default:"12" placeholder:"N"`
	RetryAge      time.Duration     `help:"How old an event gets before it is dead rather than sent again; it ages in a pause, too." default:"24h" placeholder:"TIME"`
	KeepPayload   bool              `help:"Keep the event of a created record, too."`
	KeepResult    bool              `help:"Keep the API's result of a created record as received."`
	KeepCreated   keepFlag          `help:"How long to keep the row of a created record; off (or 0) for ever. Must outlast the time after which the same event may be published or delivered again: without its row it is a new one." default:"720h" placeholder:"TIME"`
}

// quotaFlag is so many calls in a time; the zero value is no limit.
type quotaFlag pipeline.Quota

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *quotaFlag) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*q = quotaFlag{}
		return nil
	}
	calls, window, _ := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(calls)
	d, derr := time.ParseDuration(window)
	if err != nil || derr != nil || n < 1 || d <= 0 {
		return fmt.Errorf("%q: want calls and a time, as 190/10s, or off", text)
	}
	*q = quotaFlag{Calls: n, Window: d}
	return nil
}

// keepFlag is a time; the zero value is for ever.
type keepFlag time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *keepFlag) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*k = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q: want a time, as 720h, or off", text)
	}
	*k = keepFlag(d)
	return nil
}

// orForEver is the time as a worker's settings have it.
func (k keepFlag) orForEver() time.Duration {
	if k == 0 {
		return -1
	}
	return time.Duration(k)
}

// shareFlag is a percentage; 0.2 is 20%.
type shareFlag float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *shareFlag) UnmarshalText(text []byte) error {
	percent, ok := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(percent, 64)
	if !ok || err != nil || !(v >= 0 && v < 100) {
		return fmt.Errorf("%q: want a share below 100%%, as 20%%", text)
	}
	*f = shareFlag(v / 100)
	return nil
}

// zoneFlag is a time zone by its name.
type zoneFlag struct{ *time.Location }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *zoneFlag) UnmarshalText(text []byte) (err error) {
	if f.Location, err = time.LoadLocation(string(text)); err != nil || len(text) == 0 || string(text) == "Local" {
		return fmt.Errorf("%q: want the name of a time zone, as Europe/Berlin", text)
	}
	return nil
}

// quota says what the account allows.
func (f callFlags) quota() pipeline.Quota {
	q := pipeline.Quota(f.Quota)
	q.Reserve, q.Daily, q.Location = float64(f.QuotaReserve), f.QuotaDaily, f.QuotaZone.Location
	return q
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
		Quota:         c.quota(),
		TrialInterval: c.TrialInterval,
		Breaker:       pipeline.Breaker(c.Breaker),
		IDProperty:    c.IDProperty,
		OnUnknown:     c.OnUnknown.others(),
		OnUnknownOf:   c.OnUnknown.byType(),
		OnConflict:    pipeline.OnConflict(c.OnConflict),
		Settle:        c.Settle,
		Retry: pipeline.Retry{
			Initial: c.RetryInitial, Max: c.RetryMax, Attempts: c.RetryAttempts, Age: c.RetryAge,
		},
		KeepPayload:     c.KeepPayload,
		KeepCreated:     c.KeepCreated.orForEver(),
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
		{"retry-initial", int64(c.RetryInitial)}, {"retry-max", int64(c.RetryMax)}, {"retry-attempts", int64(c.RetryAttempts)},
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
	if err := errors.Join(c.positive(), c.OnUnknown.validate()); err != nil {
		return usageError{err}
	}
	// All that can be known to be wrong without the servers is told first. The ack wait is the consumer's: see below.
	if err := c.config(c.BatchWait + time.Hour).Validate(); err != nil {
		return usageError{err}
	}
	if err := errors.Join(c.natsFlags.validate(), c.source().Validate(), c.databaseFlags.validate(),
		c.durableFlags.validate()); err != nil {
		return usageError{err}
	}
	seen := newSeen()
	vault := &lateVault{}
	token, closeToken, err := c.token(vault)
	if err != nil {
		return err
	}
	defer closeToken()
	stopProfile, err := c.profileFlags.start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopProfile()) }()
	crm, err := hubspot.New(hubspot.Config{
		BaseURL: c.HubspotURL, Version: c.HubspotVersion, Token: token, MaxInFlight: c.InFlight,
		IDProperty: c.IDProperty, UserAgent: userAgent(), KeepResult: c.KeepResult,
	})
	if err != nil {
		return usageError{err}
	}
	defer crm.Close()
	tracer, stopTraces, err := traces(ctx, p.log)
	if err != nil {
		return err
	}
	defer stopTraces()
	stopAdmin, err := c.serve(ctx, p.log, seen)
	if err != nil {
		return err
	}
	defer stopAdmin()
	if err := c.work(ctx, p, crm, vault, seen, tracer); !errors.Is(err, errStopped) {
		return err
	}
	p.log.Info("stopped before it began: not all that it needs was there")
	return nil
}

// work connects and works until it is told to stop.
func (c *runCmd) work(ctx context.Context, p *program, crm worker.CRM, vault *lateVault, seen *seen, tracer trace.Tracer) error {
	store, nc, err := c.awaitServers(ctx, p.log, seen)
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
	cfg.Metrics, cfg.Tracer = seen.metrics, tracer
	w, err := pipeline.New(cfg, source, store, crm, p.log)
	if err != nil {
		return usageError{err}
	}
	seen.worker.Store(w)
	defer context.AfterFunc(ctx, func() { seen.stopping.Store(true) })()

	p.log.Info("started", "worker", cfg.Name, "stream", c.Stream, "consumer", c.Consumer, "crm", c.HubspotURL, "quota", quotaText(cfg.Quota),
		"id_property", c.IDProperty)
	begin := time.Now()
	err = w.Run(ctx)
	s := w.Stats()
	p.log.Info("stopped", "after", time.Since(begin).Round(time.Millisecond), "received", s.Received.Load(), "calls", s.Calls.Load(),
		"created", s.Created.Load(), "dead", s.Dead.Load(), "duplicates", s.Duplicates.Load(), "given_back", s.GivenBack.Load())
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
