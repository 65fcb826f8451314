package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/worker"
	"crmintake/worker/event"
	"crmintake/worker/jetstream"
)

type publishCmd struct {
	flags.NATS
	File       string `arg:"" help:"File with one event a line; - is standard input." placeholder:"FILE"`
	ObjectType string `help:"Object type of all the events, the last part of their subject: deals, 0-3, 2-123456… Exported events have their own." placeholder:"TYPE"`
	IDField    string `help:"Property whose value is the event's id, such as source_event_id. Without it events have no id, and publishing a file twice makes two records of each line." placeholder:"PROPERTY"`
	IDSuffix   string `name:"id-suffix" help:"Put this behind the id of each exported event. The outbox knows an event by its id: one that was changed since must come under another." placeholder:"TEXT"`
	Format     string `help:"json: an event a line; csv: what dead export --format csv wrote." enum:"json,csv" default:"json" placeholder:"json|csv"`
	OnBad      string `help:"What to do at a line that is no valid event, or that the stream drops: stop, or skip it and go on." enum:"stop,skip" default:"stop" placeholder:"stop|skip"`
}

func (publishCmd) Help() string {
	return `A line is one event: a JSON object such as {"properties": {"name": "Example"}}, with optional associations, as an ` +
		"element of inputs in the CRM's batch create API. Blank lines are ignored. A bad line (no valid event, without " +
		"the id that --id-field names, larger than 1 MiB) is reported on standard error by its number.\n\n" +
		"With --id-field the same file can be published again after any failure: JetStream and the outbox know an event " +
		"that comes twice by its id. Without it, go on after the last line that is said to be published.\n\n" +
		"Within its duplicate window JetStream drops an event whose id it had, whatever is in it. Each that it drops " +
		"is compared with " +
		"what it has, and reported like a bad line if it is another event's id.\n\n" +
		"What dead export wrote is taken in under the ids and object types that it names. An outbox that has these " +
		"events takes them for " +
		"what it has, and does nothing; give those that were changed other ids with --id-suffix.\n\n" +
		"With --on-bad stop nothing after the first bad line is published. The exit code is 1 if any line was bad or " +
		"dropped, skipped or not."
}

// lastConfirmations is how long an interrupted command waits for what it has sent.
const lastConfirmations = 10 * time.Second

// publishReport is what became of the lines.
type publishReport struct {
	Subject     string `json:"subject"`
	Published   int    `json:"published"`   // new in the stream
	Duplicates  int    `json:"duplicates"`  // in the stream already, by their id and content
	Dropped     int    `json:"dropped"`     // dropped by the stream for their id, and not known to be what it had under it
	Bad         int    `json:"bad"`         // lines that were no events
	Unconfirmed int    `json:"unconfirmed"` // sent, but it is not known whether they are in the stream
	// all events up to this line are in the stream, but for what was dropped; 0 for none
	LastLine int `json:"last_line"`
	Sent
}

func (r publishReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Published %s on %s", view.Count(r.Published, "event"), r.Subject)
	if r.Duplicates > 0 {
		fmt.Fprintf(&b, "; %d more were in the stream already", r.Duplicates)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(&b, "; %s dropped by the stream for the id", view.Count(r.Dropped, "event"))
	}
	if r.Bad > 0 {
		fmt.Fprintf(&b, "; %s not published", view.Count(r.Bad, "bad line"))
	}
	if r.Unconfirmed > 0 {
		fmt.Fprintf(&b, "; %s sent after line %d, not confirmed", view.Count(r.Unconfirmed, "event"), r.LastLine)
	}
	return b.String() + "."
}

func (c *publishCmd) Run(ctx context.Context, p *program) error {
	subject, err := c.validate()
	if err != nil {
		return err
	}
	in, size := p.in, int64(-1)
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in = file
	}
	nc, err := c.Connect("crmintake publish", p.log)
	if err != nil {
		return err
	}
	defer nc.Close()
	opening, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()
	f := &feed{publishCmd: c, program: p, subject: subject, bar: view.Bar(p.err, size)}
	f.publisher, err = jetstream.OpenPublisher(opening, nc, jetstream.PublisherConfig{Stream: c.Stream,
		Domain: c.Domain, Subject: subject, Dropped: f.told})
	if err != nil {
		return err
	}
	defer f.publisher.Close()
	err = f.run(ctx, in)
	report := f.report()
	if p.Output == "json" {
		return errors.Join(err, view.JSON(p.out, report))
	}
	_, printErr := fmt.Fprintln(p.out, report.String()+report.Sent.words(c.Stream))
	return errors.Join(err, printErr)
}

// validate returns the subject to publish on.
func (c *publishCmd) validate() (string, error) {
	cfg := jetstream.Config{Stream: c.Stream, Subject: c.Subject}
	if err := cfg.Validate(); err != nil {
		return "", flags.Usage(err)
	}
	if err := c.NATS.Check(); err != nil {
		return "", err
	}
	if c.ObjectType == "" {
		return c.Subject, nil
	}
	if err := flags.ObjectTypeFault(c.ObjectType); err != nil {
		return "", flags.Usagef("--object-type %q: %w", view.Shorten(c.ObjectType, 50), err)
	}
	return cfg.Prefix() + c.ObjectType, nil
}

// feed takes the lines to the publisher. It is one goroutine's, beside the one that reads.
type feed struct {
	*publishCmd
	*program
	publisher *jetstream.Publisher
	subject   string
	bar       *progressbar.ProgressBar // nil without a terminal
	bad       int
	exported  bool // there were exported events
	sent      Sent
}

func (f *feed) report() publishReport {
	done := f.publisher.Progress()
	var sent Sent
	if done.Dropped == 0 { // else some of the ids are those of other events
		sent = f.sent.upTo(f.publisher.Places())
	}
	return publishReport{
		Subject:     f.subject,
		Published:   done.Confirmed - done.Duplicates,
		Duplicates:  done.Duplicates,
		Dropped:     done.Dropped,
		Bad:         f.bad,
		Unconfirmed: f.publisher.Unconfirmed(),
		LastLine:    done.Line,
		Sent:        sent,
	}
}

func (f *feed) run(ctx context.Context, in io.Reader) error {
	// Reading from a terminal or a pipe can't be interrupted, so it has a goroutine, which ends with the input or the
	// program.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	lines := make(chan line, 16) // lines are up to a MiB
	if f.Format == "csv" {
		go readCSV(reading, in, lines)
	} else {
		go readLines(reading, in, lines)
	}

	err := f.publish(ctx, lines)
	flushErr := f.publisher.Flush(ctx)
	if ctx.Err() != nil {
		// What was sent will be confirmed in a moment, and then we can say exactly how far it got.
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastConfirmations)
		defer cancel()
		flushErr = f.publisher.Flush(flushing)
	}
	if f.bar != nil {
		_ = f.bar.Clear()
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; %s", f.resume())
	}
	switch {
	case flushErr != nil: // it is the publisher's first error, and so err, too, if that came from there
		return fmt.Errorf("%w; %s", flushErr, f.resume())
	case err != nil:
		return fmt.Errorf("%w; %s", err, f.resume())
	case f.dropped() > 0 && f.bad > 0:
		return fmt.Errorf("%s not published, and %s dropped by the stream", view.Count(f.bad, "bad line"),
			view.Count(f.dropped(), "event"))
	case f.dropped() > 0:
		return fmt.Errorf("%s dropped by the stream", view.Count(f.dropped(), "event"))
	case f.bad > 0:
		return fmt.Errorf("%s not published", view.Count(f.bad, "bad line"))
	}
	return nil
}

func (f *feed) dropped() int { return f.publisher.Progress().Dropped }

// mostTold is how many dropped events are told one by one: it can be all of a file.
const mostTold = 20

// told reports an event that the stream dropped.
func (f *feed) told(line int, id string, why error) {
	if f.bar != nil {
		_ = f.bar.Clear()
	}
	switch n := f.dropped(); {
	case n <= mostTold:
		fmt.Fprintf(f.err, "line %d (id %q): %v\n", line, id, why)
	case n == mostTold+1:
		fmt.Fprintln(f.err, "more events were dropped so; those are counted only")
	}
}

// resume tells how to publish the rest.
func (f *feed) resume() string {
	last := f.publisher.Progress().Line
	done := fmt.Sprintf("all events up to line %d are published", last)
	if f.dropped() > 0 {
		done += ", but for what the stream dropped"
	}
	switch {
	case f.IDField != "" || f.exported:
		return done + ". To go on, type the same command again: events that are there already are known by their ids"
	case f.publisher.Unconfirmed() > 0:
		return done + fmt.Sprintf(". Of %s after it, without ids, it is not known: publishing them again may make "+
			"two records of one line",
			view.Count(f.publisher.Unconfirmed(), "event"))
	default:
		return done + fmt.Sprintf(". To go on, publish what follows: 'tail -n +%d FILE | crmintake publish - …'", last+1)
	}
}

// publish goes through the lines until the first error, or the last line.
func (f *feed) publish(ctx context.Context, lines <-chan line) error {
	for {
		var l line
		select {
		case l = <-lines:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.err == io.EOF {
			return nil
		}
		if l.err != nil {
			return fmt.Errorf("line %d: %w", l.number, l.err)
		}
		if err := f.one(ctx, l); err != nil {
			return err
		}
		if f.bar != nil && l.number%64 == 0 {
			_ = f.bar.Set64(f.position(l))
		}
	}
}

// position is in bytes if the size of the input is known, else in lines.
func (f *feed) position(l line) int64 {
	if f.bar.GetMax64() < 0 {
		return int64(l.number)
	}
	return l.end
}

// one publishes one line. The error ends it all.
func (f *feed) one(ctx context.Context, l line) error {
	if l.blank() {
		return nil
	}
	if f.dropped() > 0 && f.OnBad == "stop" {
		return fmt.Errorf("the stream drops events, and nothing from line %d on was published; mend their ids, or go "+
			"on past them with --on-bad skip", l.number)
	}
	subject, id, err := f.check(&l)
	if errors.As(err, new(flags.UsageError)) {
		return err
	}
	if err == nil {
		err = f.publisher.Publish(ctx, jetstream.Message{Subject: subject, ID: id, Data: l.text, Line: l.number})
		if err == nil {
			f.sent.add(id)
			return nil
		}
		if !errors.Is(err, jetstream.ErrTooLarge) {
			return err
		}
	}
	f.bad++
	if f.bar != nil {
		_ = f.bar.Clear()
	}
	fmt.Fprintf(f.err, "line %d: %v\n", l.number, err)
	if f.OnBad == "skip" {
		return nil
	}
	return fmt.Errorf("line %d is bad, and nothing after it was published; mend it, or skip such lines with --on-bad "+
		"skip", l.number)
}

// check finds out what would make the event a dead letter, and takes its id.
func (f *feed) check(l *line) (subject, id string, err error) {
	if l.tooLong {
		return "", "", fmt.Errorf("the line has more than the %d bytes that an event may have", worker.MaxEventBytes)
	}
	if err := cmp.Or(l.bad, l.unwrap()); err != nil {
		return "", "", err
	}
	input, err := event.Decode(l.text, f.IDField, "")
	if err != nil {
		return "", "", err
	}
	if l.exported {
		f.exported = true
		return f.checkExported(l)
	}
	if f.ObjectType == "" {
		return "", "", flags.Usagef(
			"line %d names no object type, as an exported event does: say it with --object-type", l.number)
	}
	if f.IDField == "" {
		return f.subject, "", nil
	}
	id = input.IDValue
	if id == "" {
		return "", "", fmt.Errorf("properties.%s, which --id-field names, is missing or empty", f.IDField)
	}
	id, err = f.checkID(id, "properties."+f.IDField)
	return f.subject, id, err
}

// checkExported is for an event whose id and object type the line names.
func (f *feed) checkExported(l *line) (subject, id string, err error) {
	cfg := jetstream.Config{Stream: f.Stream, Subject: f.Subject}
	subject = cfg.Prefix() + l.objectType
	if f.ObjectType != "" {
		subject = f.subject
	}
	if err := flags.ObjectTypeFault(strings.TrimPrefix(subject, cfg.Prefix())); err != nil {
		return "", "", fmt.Errorf("its object type is %q: %w, or say it with --object-type",
			view.Shorten(l.objectType, 50), err)
	}
	id, err = f.checkID(l.id+f.IDSuffix, "event_id")
	return subject, id, err
}

// checkID tells whether an event can have this id, which comes from a place.
func (f *feed) checkID(id, place string) (string, error) {
	if strings.Trim(id, " \t") != id {
		return "", fmt.Errorf("%s begins or ends with white space, which an id can't", place)
	}
	if invalid := event.CheckID(id, "Nats-Msg-Id"); invalid != "" {
		return "", errors.New(invalid)
	}
	return id, nil
}
