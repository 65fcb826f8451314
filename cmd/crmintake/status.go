package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/jetstream"
)

type statusCmd struct {
	natsFlags
	consumerFlags
	databaseFlags
	Quota quotaFlag `help:"Calls that all workers together make in any such time, as 190/10s; or off." default:"100/10s" placeholder:"CALLS/TIME"`
	Watch watchFlag `help:"Show it again every so often (2s if no time is given), in place on a terminal, until interrupted." placeholder:"TIME"`
}

func (statusCmd) Help() string {
	return "Events are counted by object type and status, with the oldest of each: for sending since its call began, for retry and " +
		"unknown since the event came, for dead since it died. In a large outbox the number of created events is the " +
		"database's estimate, and marked so. The quota is not known to the outbox: give the workers' --quota. What can't be " +
		"reached is told, the rest is shown, and the exit code is 1."
}

// watchFlag is how often to show it: never again if 0. Its value may be left out.
type watchFlag time.Duration

// IsBool implements kong.BoolMapperValue: the flag needs no value.
func (watchFlag) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (w *watchFlag) Decode(ctx *kong.DecodeContext) error {
	*w = watchFlag(2 * time.Second)
	next := ctx.Scan.Peek()
	text, _ := next.Value.(string)
	d, err := time.ParseDuration(text)
	switch {
	case next.Type == kong.FlagValueToken && text == "true":
		ctx.Scan.Pop()
	case next.Type == kong.FlagValueToken && text == "false":
		ctx.Scan.Pop()
		*w = 0
	case err == nil && d >= 100*time.Millisecond:
		ctx.Scan.Pop()
		*w = watchFlag(d)
	case err == nil || next.Type == kong.FlagValueToken:
		return fmt.Errorf("%q: want a time of 100ms at least, such as 5s", text)
	}
	return nil
}

// statusReport is how things stand, as far as it can be known.
type statusReport struct {
	*operator.Status              // nil if the database can't be asked
	Backlog          *backlog     `json:"backlog,omitempty"` // nil if NATS can't be asked
	Faults           []statusFail `json:"faults,omitempty"`
}

// backlog is what the stream holds for the consumer.
type backlog struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	Pending  int    `json:"pending"` // not delivered yet
	Unacked  int    `json:"unacked"` // in the hands of workers, or put off
}

// statusFail is a part that can't be asked.
type statusFail struct {
	Part  string `json:"part"`
	Error string `json:"error"`
}

func (c *statusCmd) Run(ctx context.Context, p *program) error {
	source := jetstream.Config{Stream: c.Stream, Subject: c.Subject, Consumer: c.Consumer}
	if err := errors.Join(jetstream.ValidateURL(c.NATSURL), source.Validate(), outbox.ValidateURL(c.DatabaseURL)); err != nil {
		return usageError{err}
	}
	q := &statusQuestion{statusCmd: c, config: source, log: p.log}
	defer q.close()
	if c.Watch > 0 {
		q.log = slog.New(slog.DiscardHandler) // its lines would run through the picture; what is wrong is in it
		return q.watch(ctx, p)
	}
	r := q.ask(ctx)
	if err := r.print(p.out, p, screenOf(p.out)); err != nil {
		return err
	}
	if r.Faults != nil {
		return errTold
	}
	return nil
}

// watch shows the status again and again.
func (q *statusQuestion) watch(ctx context.Context, p *program) error {
	s := screenOf(p.out)
	if s.terminal {
		fmt.Fprint(p.out, "\x1b[?25l\x1b[2J") // the cursor hidden, the screen cleared
		defer fmt.Fprint(p.out, "\x1b[?25h")
	}
	tick := time.NewTicker(time.Duration(q.Watch))
	defer tick.Stop()
	for {
		r := q.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var b bytes.Buffer
		s := screenOf(p.out) // it may have another size by now
		if err := r.print(&b, p, s); err != nil {
			return err
		}
		text := b.String()
		switch {
		case s.terminal: // over what is there, line by line, so that nothing flickers
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
const statusPatience = 10 * time.Second

func (q *statusQuestion) ask(ctx context.Context) *statusReport {
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
			r.Faults = append(r.Faults, statusFail{part.name, oneLine(part.err.Error())})
		}
	}
	return &r
}

func (q *statusQuestion) backlog(ctx context.Context) (b *backlog, err error) {
	if q.nc == nil {
		if q.nc, err = jetstream.Connect(q.NATSURL, "crmintake status", q.log); err != nil {
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
	return b, nil
}

func (q *statusQuestion) database(ctx context.Context) (s *operator.Status, err error) {
	if q.store == nil {
		if q.store, err = openStore(ctx, q.databaseFlags, 2); err != nil {
			return nil, err
		}
	}
	status, err := operator.New(q.store, operator.Config{}).Status(ctx, outbox.Quota{
		Account: fleetAccount, Calls: q.Quota.Calls, Window: q.Quota.Window,
	})
	if err != nil {
		return nil, err
	}
	return &status, nil
}

// fleetAccount is what workers call their account.
const fleetAccount = "default"

func (q *statusQuestion) close() {
	if q.store != nil {
		q.store.Close()
	}
	if q.nc != nil {
		q.nc.Close()
	}
}

func (r *statusReport) print(w io.Writer, p *program, s screen) error {
	if p.Output == "json" {
		e := json.NewEncoder(w) // a line each time
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	if r.Status != nil {
		if err := r.printEvents(w, s); err != nil {
			return err
		}
	}
	t := newTable(column{}, column{fit: true})
	for _, f := range r.Faults {
		t.row(cell{red, f.Part}, cell{red, f.Error})
	}
	if b := r.Backlog; b != nil {
		t.row("backlog", fmt.Sprintf("%s pending, %s unacked, in stream %s", grouped(b.Pending), grouped(b.Unacked), b.Stream))
	}
	if r.Status != nil {
		r.tell(t)
	}
	return t.print(w, s)
}

// shownStatuses are the columns, in the order in which rows go through them.
var shownStatuses = []outbox.Status{outbox.Sending, outbox.Retry, outbox.Unknown, outbox.Dead, outbox.Created, outbox.Discarded}

func (r *statusReport) printEvents(w io.Writer, s screen) error {
	if len(r.Events) == 0 {
		_, err := fmt.Fprint(w, "The outbox is empty.\n\n")
		return err
	}
	columns := []column{{title: "OBJECT TYPE", fit: true}}
	for _, status := range shownStatuses {
		columns = append(columns, column{title: strings.ToUpper(string(status)), right: true})
	}
	t := newTable(columns...)
	estimated := false
	for rest := r.Events; len(rest) > 0; { // they are sorted
		n := slices.IndexFunc(rest, func(e operator.Events) bool { return e.ObjectType != rest[0].ObjectType })
		if n < 0 {
			n = len(rest)
		}
		group := rest[:n]
		rest = rest[n:]
		row := []any{group[0].ObjectType}
		if row[0] == "" {
			row[0] = "(none)"
			if group[0].Estimated {
				row[0] = "(any)"
			}
		}
		for _, status := range shownStatuses {
			i := slices.IndexFunc(group, func(e operator.Events) bool { return e.Status == status })
			if i < 0 {
				row = append(row, cell{faint, "-"})
				continue
			}
			e := group[i]
			c := shownStatus(string(status))
			c.text = grouped(e.Events)
			if e.Estimated {
				c.text, estimated = "~"+c.text, true
			}
			if !e.Oldest.IsZero() {
				c.text += " (" + short(r.At.Sub(e.Oldest)) + ")"
			}
			row = append(row, c)
		}
		t.row(row...)
	}
	if err := t.print(w, s); err != nil {
		return err
	}
	note := "In brackets: the oldest."
	if estimated {
		note += " ~: estimated, with what was discarded."
	}
	foot := newTable(column{fit: true})
	foot.row(cell{faint, note})
	foot.row("")
	return foot.print(w, s)
}

// tell adds what the database knows beside the rows.
func (r *statusReport) tell(t *table) {
	calls := "none in flight"
	if n := r.Calls.Create + r.Calls.Read; n > 0 {
		calls = fmt.Sprintf("%d in flight (%d create, %d read), the oldest for %s", n, r.Calls.Create, r.Calls.Read, short(r.At.Sub(r.Calls.Oldest)))
	}
	t.row("calls", calls)
	if q := r.Quota; q != nil {
		text := fmt.Sprintf("%d of %d calls used in the last %s, %d left", q.Used, q.Calls, q.Window, q.Left)
		c := cell{plain, text}
		if !q.BlockedUntil.IsZero() {
			c = cell{yellow, text + "; the CRM wants no call for another " + short(q.BlockedUntil.Sub(r.At))}
		}
		t.row("quota", c)
	}
	name := "paused"
	for _, p := range r.Pauses {
		text := fmt.Sprintf("%s, for %s", pausedName(p.ObjectType), short(r.At.Sub(p.Since)))
		if p.By != "" {
			text += ", by " + p.By
		}
		if !p.TrialAt.IsZero() {
			text += ", next trial in " + short(p.TrialAt.Sub(r.At))
		}
		t.row(cell{red, name}, cell{red, text + ": " + p.Reason})
		name = ""
	}
	if len(r.Pauses) == 0 {
		t.row("paused", "nothing")
	}
	alive := 0
	var silent []string
	for _, w := range r.Workers {
		if w.Alive {
			alive++
		} else {
			silent = append(silent, fmt.Sprintf("%s for %s", w.Name, short(r.At.Sub(w.SeenAt))))
		}
	}
	text := fmt.Sprintf("%d alive", alive)
	if len(silent) > 0 {
		text += "; silent: " + strings.Join(silent, ", ")
	}
	c := cell{plain, text}
	if alive == 0 {
		c.colour = yellow
	}
	t.row("workers", c)
}
