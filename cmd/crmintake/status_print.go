package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

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
		text := fmt.Sprintf("%s pending, %s unacked, in stream %s", grouped(b.Pending), grouped(b.Unacked), b.Stream)
		if b.Apart {
			text += "; object types are fetched apart"
		}
		t.row("backlog", text)
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
		if q.Others > 0 {
			text += fmt.Sprintf(", about %d used by other apps", q.Others)
		}
		c := cell{plain, text}
		if !q.BlockedUntil.IsZero() {
			c = cell{yellow, fmt.Sprintf("%s; the CRM wants no call for another %s, until %s (%s); 'crmintake resume --all' ends that", text,
				short(q.BlockedUntil.Sub(r.At)), localTime(q.BlockedUntil), shorten(printable(q.BlockedWhy), 200))}
		}
		t.row("quota", c)
		t.row("today", today(q))
	} else {
		t.row("quota", "no call was made under one yet")
	}
	if x := r.Scaling; x != nil {
		t.row("load", x.String())
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
	waits := func(e operator.Events) bool { return e.Status == outbox.Retry || e.Status == outbox.Unknown }
	switch {
	case len(r.Pauses) == 0:
		t.row("paused", "nothing")
	case slices.ContainsFunc(r.Events, waits):
		t.row("", "what waits in retry or unknown ages on; 'crmintake outbox give-up' makes dead letters of it at once")
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

// today is what was used of the day.
func today(q *operator.QuotaUse) string {
	text := count(q.UsedToday, "call")
	if q.DayLimit > 0 {
		text = fmt.Sprintf("%s of %s calls, %s left", grouped(q.UsedToday), grouped(q.DayLimit), grouped(max(q.DayLimit-q.UsedToday, 0)))
	}
	if q.DayMax != nil && q.DayLeft != nil {
		text += fmt.Sprintf("; the account's day has %s left of %s", grouped(*q.DayLeft), grouped(*q.DayMax))
	}
	return text
}

// String says in words what the fleet has to do.
func (x *scaling) String() string {
	text := count(x.Events, "event") + " wait"
	switch x.Events {
	case 0:
		text = "nothing waits"
	case 1:
		text += "s"
	}
	if x.Events > 0 && x.Empty != "" {
		text += ", about " + x.Empty + " of work"
	}
	switch {
	case x.QuotaLimits && x.Workers > 0:
		return fmt.Sprintf("%s; the quota limits (%s events/s), more workers would not help", text, grouped(int(x.QuotaRate)))
	case x.Events > 0 && x.Workers == 0:
		return text + "; no worker is there"
	case x.Events > 0 && x.WorkersWanted > x.Workers:
		return fmt.Sprintf("%s; %d workers would do it faster", text, x.WorkersWanted)
	}
	return text
}
