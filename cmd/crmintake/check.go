package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"time"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/migrations"
	"crmintake/outbox/operator"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

// checkCmd takes all that run takes: it is run's settings that it looks at.
type checkCmd struct{ runCmd }

func (checkCmd) Help() string {
	return "Takes the settings of 'crmintake run'. It changes nothing: of NATS and Postgres it asks what is there " +
		"and what the " +
		"time is, and of the CRM what the id properties are, one call of the quota each. Exit code 0 if there are warnings " +
		"at most, 1 if there is a failure."
}

// level is how bad a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warning"
	failure level = "failure"
)

// finding is one line of the list.
type finding struct {
	Level   level  `json:"level"`
	Subject string `json:"subject"`
	Text    string `json:"text"` // what is so, and what to do about it
}

type findings []finding

func (f *findings) add(l level, subject, format string, args ...any) {
	*f = append(*f, finding{l, subject, view.OneLine(fmt.Sprintf(format, args...))})
}

// fail adds a failure for each error that is joined in err. It reports whether there is one.
func (f *findings) fail(subject string, err error) bool {
	if err == nil {
		return false
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			f.fail(subject, one)
		}
		return true
	}
	f.add(failure, subject, "%v", err)
	return true
}

// checkPatience bounds what one part is waited for.
const checkPatience = 20 * time.Second

func (c *checkCmd) Run(ctx context.Context, p *program) error {
	var f findings
	var times clocks
	vault := &lateVault{}
	crm := c.settings(&f, vault)
	for _, part := range []func(context.Context, *program, *findings){
		c.nats,
		func(ctx context.Context, p *program, f *findings) { c.database(ctx, p, &times, f) },
		func(ctx context.Context, _ *program, f *findings) {
			if crm != nil {
				defer crm.Close()
				if c.Given() { // an app's tokens are the fleet's
					if store, err := c.Open(ctx, 1); err == nil {
						defer store.Close()
						vault.store.Store(store)
					}
				}
				c.crm(ctx, crm, &times, f)
			}
		},
	} {
		ctx, cancel := context.WithTimeout(ctx, checkPatience)
		part(ctx, p, &f)
		cancel()
	}
	times.judge(&f)
	if err := f.print(p); err != nil {
		return err
	}
	if slices.ContainsFunc(f, func(one finding) bool { return one.Level == failure }) {
		return errTold
	}
	return nil
}

func (f findings) print(p *program) error {
	if p.Output == "json" {
		return view.JSON(p.out, f)
	}
	t := view.NewTable(view.Column{}, view.Column{}, view.Column{})
	for _, one := range f {
		t.Row(map[level]view.Colour{fine: view.Green, warning: view.Yellow,
			failure: view.Red}[one.Level].Cell(string(one.Level)), one.Subject, one.Text)
	}
	return t.Print(p.out, p.screen().Uncut()) // what to do is worth more than one line
}

// settings looks at what can be known to be wrong without the servers. It returns nil if the CRM can't be called so.
func (c *checkCmd) settings(f *findings, vault hubspot.Vault) *hubspot.Client {
	bad := f.fail("settings", c.positive())
	if !bad {
		bad = f.fail("settings", c.config(c.BatchWait+time.Hour).Validate())
	}
	bad = f.fail("settings", c.source().Validate()) || bad
	_, err := c.Admin.Config()
	bad = f.fail("settings", err) || bad
	bad = f.fail("settings", c.Monitor.Check()) || bad
	token, _, err := c.Token(vault, userAgent())
	if f.fail("settings", err) {
		return nil
	}
	crm, err := hubspot.New(hubspot.Config{
		BaseURL: c.HubspotURL, Version: c.HubspotVersion, Token: token, IDProperty: c.IDProperty, UserAgent: userAgent(),
	})
	if f.fail("settings", err) {
		return nil
	}
	if !bad {
		f.add(fine, "settings", "all of them can be used together")
	}
	return crm
}

func (c *checkCmd) nats(ctx context.Context, p *program, f *findings) {
	if f.fail("NATS", c.NATS.Check()) || c.source().Validate() != nil {
		return
	}
	nc, err := c.Connect("crmintake check", p.log)
	if f.fail("NATS", err) {
		return
	}
	defer nc.Close()
	f.add(fine, "NATS", "connected to %s, version %s", nc.ConnectedAddr(), nc.ConnectedServerVersion())
	if _, err := nc.TLSConnectionState(); err != nil && !onThisMachine(nc.ConnectedAddr()) {
		f.add(warning, "NATS", "%s, so that who is on the way can read events, and a password or token; give "+
			"--nats-ca-file, or tls:// in --nats-url", unencrypted)
	}
	source, err := jetstream.Open(ctx, nc, c.source())
	if f.fail("stream", err) {
		return
	}
	for _, text := range source.Warnings() {
		f.add(warning, "stream", "%s", text)
	}
	pending, unacked, err := source.Outstanding(ctx)
	if f.fail("stream", err) {
		return
	}
	lanes := ""
	if source.Lanes() {
		lanes = "; each object type has a consumer of its own now, as one was paused: there is one again once the " +
			"stream was empty"
	}
	f.add(fine, "stream", "%s and its consumer %s are there: %s pending, %s unacked%s", c.Stream, c.Consumer,
		view.Grouped(pending), view.Grouped(unacked), lanes)
	if c.Monitor.Check() == nil {
		f.streamDurable(ctx, source, c.NATSMonitorURL)
	}
	if n, what, err := source.Stranded(ctx); !f.fail("stream", err) && n > 0 {
		f.add(failure, "stream", "%s", what)
	}
	// The ack wait is the consumer's; what else is wrong was told by settings.
	if c.positive() == nil && c.config(c.BatchWait+time.Hour).Validate() == nil {
		f.fail("stream", c.config(source.AckWait()).Validate())
	}
}

// testedVersion is the oldest version of Postgres that the tests ran on.
const testedVersion = 150000

func (c *checkCmd) database(ctx context.Context, p *program, times *clocks, f *findings) {
	if f.fail("database", c.Database.Check()) {
		return
	}
	store, err := c.Open(ctx, 2)
	if wrong := corrected(err); wrong != nil {
		f.add(failure, "database", "%v", wrong)
		return
	}
	if err != nil {
		f.add(failure, "database", "%v; check --database-url, and that the server runs and lets this machine in", err)
		return
	}
	defer store.Close()
	server, err := store.Inspect(ctx)
	if f.fail("database", err) {
		return
	}
	if server.Pooled {
		f.add(fine, "database", "connected, through a pooler: nothing is kept in its sessions")
	} else {
		f.add(fine, "database", "connected")
	}
	schema, err := migrations.InspectPool(ctx, store.Pool().Pool)
	if f.fail("database", err) || f.fail("database", schema.Holds()) || f.fail("schema", schema.Fit()) {
		return
	}
	if schema.Newer > 0 {
		f.add(fine, "schema", "newer by %s than this program, which can work with it", view.Count(schema.Newer, "migration"))
	} else {
		f.add(fine, "schema", "up to date")
	}
	f.fail("database", mayWork(ctx, store))
	times.database = &server.Ahead
	if server.ReadOnly {
		f.add(failure, "database", "it takes no writes: a standby, or default_transaction_read_only; "+
			"give the primary's address in --database-url, or all hosts', as postgres://user@one,two/crm; "+
			"or have the pooler spread no reads over standbys (Pgpool-II: load_balance_mode = off)")
	}
	f.databaseDurable(ctx, store)
	if !server.Encrypted && !onThisMachine(server.Addr) {
		f.add(warning, "database", "%s, so that who is on the way can read events; give sslmode=verify-full and "+
			"sslrootcert in --database-url", unencrypted)
	}
	if server.Version < testedVersion {
		f.add(warning, "database", "PostgreSQL %d is older than 15, with which crmintake is tested", server.Version/10000)
	}
	status, err := operator.New(store, operator.Config{}).Status(ctx)
	if f.fail("database", err) {
		return
	}
	p.redactGroups(status.Groups)
	f.fleet(&status)
}

// fleet tells what status does of pauses, dead events, workers and what is in their way, as the database has it.
func (f *findings) fleet(s *operator.Status) {
	// The stream, and whether it takes writes, are looked at apart.
	s.ReadOnly = false
	found := operator.Judge(operator.Sight{At: s.At, Status: s, Stream: &operator.Stream{}}).Findings
	for _, one := range found {
		text := one.Line(s.At)
		if one.Why != "" {
			text += " (" + one.Why + ")"
		}
		l := warning
		if one.State == operator.Moving &&
			one.Kind != "dead" { // a worker that is not there yet has nothing to do either
			l = fine
		}
		f.add(l, one.Kind, "%s; %s", text, one.Do)
	}
	if len(found) == 0 {
		f.add(fine, "fleet", "%s there, nothing is paused, nothing is dead", areThere(len(s.Workers)))
	}
}

func areThere(workers int) string {
	if workers == 1 {
		return "1 worker is"
	}
	return view.Count(workers, "worker") + " are"
}

const unencrypted = "the connection is not encrypted"

// onThisMachine tells whether what is said to an address stays on this machine: a loopback address', or a Unix socket.
func onThisMachine(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// crm asks what the id properties are, and learns from the answers what the credential and the quota are worth.
func (c *checkCmd) crm(ctx context.Context, crm *hubspot.Client, times *clocks, f *findings) {
	host := c.HubspotURL
	if u, err := url.Parse(host); err == nil {
		host = u.Host
	}
	asked := c.IDProperty
	if len(asked) == 0 {
		f.add(warning, "id property", "there is none: an event whose call is not answered is parked for a person (or "+
			"sent twice, with "+
			"--on-unknown resend); create a property with unique values for each object type, and give --id-property "+
			"objectType=property")
		asked = map[string]string{"contacts": hubspot.RecordID} // as good as any other to see whether the credential is
	}
	limits := worker.Limits{Max: -1, DailyMax: -1}
	known := false // whether address and credential were told of
	for _, objectType := range slices.Sorted(maps.Keys(asked)) {
		property, class, call := crm.Property(ctx, objectType, asked[objectType])
		times.answered(call.Date, time.Now())
		if call.Limits.Max >= 0 || call.Limits.DailyMax >= 0 {
			limits = call.Limits
		}
		// by an account that knows the credential
		refused := call.Cause == worker.MissingScope || call.Cause == worker.NotFound
		switch {
		case call.Cause == worker.NoAnswer:
			f.add(failure, "CRM", "%s: %s; check --hubspot-url, the network and its proxies", host, call.Detail)
			return
		case call.Cause == worker.BadCredential:
			f.add(failure, "credential", "%s: %s", host, call.Detail)
			return
		case !known:
			known = true
			f.add(fine, "CRM", "%s answers", host)
			if class == worker.Answered || refused {
				f.add(fine, "credential", "accepted")
			}
		}
		if len(c.IDProperty) > 0 {
			f.property(objectType, asked[objectType], property, class, call)
		} else if class != worker.Answered && !refused {
			f.add(warning, "credential", "can't be judged now: %s", call.Detail)
		}
	}
	c.quota(limits, f)
}

// property judges an id property.
func (f *findings) property(objectType, name string, property hubspot.Property, class worker.Class, call worker.Call) {
	const subject = "id property"
	const create = "create one (single-line text, with unique values, which can be chosen only then) and give it in " +
		"--id-property"
	switch {
	case call.Cause == worker.NotFound:
		f.add(failure, subject, "%s has no property %s, or there is no such object type (%s); %s", objectType, name,
			call.Detail, create)
	case call.Cause == worker.MissingScope:
		f.add(warning, subject, "%s of %s can't be looked at: the credential lacks the scope to read properties (%s)",
			name, objectType, call.Detail)
	case class != worker.Answered:
		f.add(warning, subject, "%s of %s can't be looked at now: %s", name, objectType, call.Detail)
	case property.Archived:
		f.add(failure, subject, "%s of %s is archived; restore it in the CRM, or %s", name, objectType, create)
	case property.ReadOnly:
		f.add(failure, subject, "%s of %s can't be written; %s", name, objectType, create)
	case !property.HasUniqueValue && (objectType == "contacts" || objectType == "0-1") && name == "email":
		f.add(fine, subject, "email of contacts: the CRM keeps it unique by itself")
		f.rewritten(objectType, property)
	case !property.HasUniqueValue:
		f.add(failure, subject, "%s of %s may have one value in several records, so that nothing can be told by it; %s",
			name, objectType, create)
	default:
		f.add(fine, subject, "%s of %s is there and unique", name, objectType)
		f.rewritten(objectType, property)
	}
}

// rewritten warns of an id property by whose values records may not be found.
func (f *findings) rewritten(objectType string, property hubspot.Property) {
	if form := property.Rewritten(objectType); form != "" {
		f.add(warning, "id property", "%s of %s is %s: a record may not be found by the value that its event has; "+
			"better take a single-line text property with unique values", property.Name, objectType, form)
	}
}

// quota compares what the workers take with what the account's answers say that there is.
func (c *checkCmd) quota(l worker.Limits, f *findings) {
	const subject = "quota"
	if l.DailyMax > 0 && l.DailyRemain >= 0 && l.DailyRemain < l.DailyMax/10 {
		f.add(warning, subject, "%s of today's %s calls are left to all apps of the account",
			view.Grouped(l.DailyRemain), view.Grouped(l.DailyMax))
	}
	if l.Max <= 0 || l.Interval <= 0 {
		f.add(warning, subject, "the CRM does not tell how many calls the account may make; ours is %s",
			quotaText(pipeline.Quota(c.Quota)))
		return
	}
	theirs := fmt.Sprintf("%d/%v", l.Max, l.Interval)
	ours := float64(c.Quota.Calls) * float64(l.Interval)
	allowed := float64(l.Max) * float64(c.Quota.Window)
	switch {
	case c.Quota.Calls == 0:
		f.add(warning, subject, "it is off, and the account allows %s: calls will be refused; give --quota %s", theirs,
			theirs)
	case ours > allowed:
		f.add(warning, subject, "it is %s, and the account allows %s: calls will be refused; give --quota %s",
			quotaText(pipeline.Quota(c.Quota)), theirs, theirs)
	case ours < allowed:
		f.add(fine, subject, "it is %s of the account's %s; --quota %s would use all of it",
			quotaText(pipeline.Quota(c.Quota)), theirs, theirs)
	default:
		f.add(fine, subject, "it is the account's, %s", theirs)
	}
}
