package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
)

// rowFlags choose rows of the outbox.
type rowFlags struct {
	Status     string `help:"Only this status: sending, created, retry, unknown, dead or discarded." enum:",sending,created,retry,unknown,dead,discarded" default:"" placeholder:"STATUS"`
	ObjectType string `help:"Only this object type." placeholder:"TYPE"`
}

type outboxListCmd struct {
	flags.Database
	rowFlags
	Newest bool         `help:"What came last first."`
	Since  flags.Moment `help:"What came since, the last first: a time, a day, or how long ago, such as 2h." placeholder:"TIME"`
	Until  flags.Moment `help:"What came before, the last first: a time, a day, or how long ago." placeholder:"TIME"`
	After  string       `help:"Where to go on: the last id of the page before." placeholder:"EVENT_ID"`
	Limit  int          `help:"How many at most." default:"50" placeholder:"N"`
}

func (outboxListCmd) Help() string {
	return "Listed are events in the order of their ids, or with --newest, --since or --until of when they came. " +
		"What is sending, retry, unknown or dead is found at once. Created and discarded events are looked for among " +
		"all, some " +
		"100,000 a page, unless they are listed by time: a page can be short, or empty, and not be the last. The end " +
		"of the output says where the next begins."
}

// maxLimit keeps a page in memory.
const maxLimit = 10_000

// pageView is a page as JSON.
type pageView struct {
	Events []view.Event `json:"events"`
	Next   string       `json:"next,omitempty"` // --after for the next page; absent at the end
}

// AfterApply implements kong's hook.
func (c *outboxListCmd) AfterApply() error { return c.Since.Past("--since") }

func (c *outboxListCmd) byTime() bool {
	return c.Newest || !time.Time(c.Since).IsZero() || !time.Time(c.Until).IsZero()
}

func (c *outboxListCmd) Run(ctx context.Context, p *program) error {
	if c.Limit < 1 || c.Limit > maxLimit {
		return flags.Usagef("--limit %d: want 1 to %d", c.Limit, maxLimit)
	}
	store, err := openStore(ctx, c.Database, 2)
	if err != nil {
		return err
	}
	defer store.Close()
	page, err := store.Read.List(ctx, outbox.ListFilter{
		Status: outbox.Status(c.Status), ObjectType: c.ObjectType, After: c.After, Limit: c.Limit,
		ByTime: c.byTime(), Since: time.Time(c.Since), Until: time.Time(c.Until),
	})
	if errors.Is(err, outbox.ErrNoSuchPlace) {
		return flags.Usagef("--after: the outbox has no event with the id %q", c.After)
	}
	if err != nil {
		return err
	}
	for i := range page.Records {
		p.redactRecord(&page.Records[i])
	}
	if p.Output == "json" {
		v := pageView{Events: make([]view.Event, len(page.Records)), Next: page.Next}
		for i, r := range page.Records {
			v.Events[i] = view.EventOf(r)
		}
		return view.JSON(p.out, v)
	}
	if len(page.Records) > 0 {
		t := view.NewTable(view.Column{Title: "EVENT", Fit: true}, view.Column{Title: "OBJECT TYPE"},
			view.Column{Title: "STATUS"},
			view.Column{Title: c.timeTitle()}, view.Column{Title: "RECORD OR ERROR", Fit: true})
		for _, r := range page.Records {
			t.Row(r.EventID, r.ObjectType, view.Status(string(r.Status)), view.Time(c.timeOf(r)), became(r))
		}
		if err := t.Print(p.out, p.screen()); err != nil {
			return err
		}
	}
	switch {
	case page.Next != "" && len(page.Records) < c.Limit:
		_, err = fmt.Fprintf(p.out, "Of %s events looked at, %d are such. The next: --after %s\n",
			view.Grouped(page.Looked), len(page.Records), view.Quoted(page.Next))
	case page.Next != "":
		_, err = fmt.Fprintf(p.out, "There are more: --after %s\n", view.Quoted(page.Next))
	case len(page.Records) == 0:
		_, err = fmt.Fprintln(p.out, "No such events.")
	}
	return err
}

// timeTitle and timeOf are what the list is by, if it is by time.
func (c *outboxListCmd) timeTitle() string {
	if c.byTime() {
		return "CAME"
	}
	return "UPDATED"
}

func (c *outboxListCmd) timeOf(r outbox.Record) time.Time {
	if c.byTime() {
		return r.ReceivedAt
	}
	return r.UpdatedAt
}

// became is the record of an event, or why there is none.
func became(r outbox.Record) string {
	if r.RecordID != "" {
		return "record " + r.RecordID
	}
	if r.Reason != "" && r.Error != "" {
		return string(r.Reason) + ": " + r.Error
	}
	return cmp.Or(r.Error, string(r.Reason))
}
