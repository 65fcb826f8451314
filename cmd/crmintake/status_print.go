package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

func (r *statusReport) print(w io.Writer, p *program, s screen) error {
	if p.Output == "json" {
		return printLine(w, r)
	}
	var head, foot bytes.Buffer
	t := newTable(column{}, column{fit: true})
	if b := r.Backlog; b != nil {
		text := fmt.Sprintf("%s pending, %s unacked, in stream %s", grouped(b.Pending), grouped(b.Unacked), b.Stream)
		if b.Lanes {
			text += "; object types are fetched apart"
		}
		t.row("backlog", text)
	}
	if r.Status != nil {
		r.tell(t, s)
	}
	if err := t.print(&foot, s); err != nil {
		return err
	}
	rows := 0 // as many as there are
	r.printVerdict(&head, s, len(r.Verdict.Findings))
	if s.height > 0 {
		for most := min(mostFindings, len(r.Verdict.Findings)); ; most-- {
			head.Reset()
			r.printVerdict(&head, s, most)
			if rows = s.height - lines(head) - lines(foot) - roomAround; rows > 0 || most <= 1 {
				break
			}
		}
		rows = max(rows, 1)
	}
	if _, err := head.WriteTo(w); err != nil {
		return err
	}
	if r.Status != nil {
		if err := r.printEvents(w, s, rows); err != nil {
			return err
		}
	}
	_, err := foot.WriteTo(w)
	return err
}

// roomAround is what stands around the rows of events: the head, a note, what is left out, a blank line, and the
// prompt.
const roomAround = 5

func lines(b bytes.Buffer) int { return bytes.Count(b.Bytes(), []byte{'\n'}) }

// mostFindings are shown on a terminal: the others come from these, or can wait.
const mostFindings = 3

// printVerdict prints the first line, and what there is to know and to do about it, and about so many findings.
func (r *statusReport) printVerdict(w io.Writer, s screen, most int) {
	v := r.Verdict
	c := map[operator.State]colour{operator.Moving: green, operator.Idle: green, operator.Held: yellow,
		operator.Trouble: red}[v.State]
	s.indented(w, c, "", v.Text)
	for i, f := range v.Findings {
		if i == most {
			fmt.Fprintf(w, "and %d more: crmintake status | less\n", len(v.Findings)-i)
			break
		}
		if i > 0 || !strings.HasSuffix(v.Text, f.What) && f.State == operator.Moving { // else it is the first line's
			s.indented(w, plain, "- ", f.Line(r.Verdict.At))
		}
		if f.Why != "" {
			why := f.Why
			if s.height > 0 {
				why = shorten(why, whyMost)
			}
			s.indented(w, plain, "  why: ", why)
		}
		s.indented(w, plain, "  do:  ", f.Do)
	}
	fmt.Fprintln(w)
}

// whyMost is how much of an answer is shown on a terminal.
const whyMost = 300

// shownStatuses are the columns, in the order in which rows go through them.
var shownStatuses = []outbox.Status{outbox.Sending, outbox.Retry, outbox.Unknown, outbox.Dead, outbox.Created, outbox.Discarded}

// printEvents prints so many rows at most, those first that are not done; 0: all.
func (r *statusReport) printEvents(w io.Writer, s screen, most int) error {
	if len(r.Events) == 0 && r.Left == "" {
		_, err := fmt.Fprint(w, "The outbox is empty.\n\n")
		return err
	}
	t, estimated := r.eventTable(true)
	if s.width > 0 && t.width() > s.width {
		t, estimated = r.eventTable(false) // without how old the oldest is
	}
	note := "In brackets: the oldest."
	if estimated {
		note += " ~: estimated, with what was discarded."
	}
	if r.Left != "" {
		note = "Some figures are left out: somebody's lock is in the way."
	}
	if most > 0 {
		if more := t.keep(most); more > 0 {
			note += fmt.Sprintf(" And %d more object types: crmintake status | less", more)
		}
	}
	if !t.isEmpty() {
		if err := t.print(w, s); err != nil {
			return err
		}
	}
	foot := newTable(column{fit: true})
	foot.row(faint.cell(note))
	foot.row("")
	return foot.print(w, s)
}

// eventTable has a row for each object type, what is not done first, and a column for each status that some events
// have.
func (r *statusReport) eventTable(ages bool) (t *table, estimated bool) {
	columns := []column{{title: "OBJECT TYPE", fit: true}}
	var statuses []outbox.Status
	for _, status := range shownStatuses {
		if slices.ContainsFunc(r.Events, func(e operator.Events) bool { return e.Status == status }) {
			statuses = append(statuses, status)
			columns = append(columns, column{title: strings.ToUpper(string(status)), right: true})
		}
	}
	t = newTable(columns...)
	var done [][]any
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
		open := false
		for _, status := range statuses {
			i := slices.IndexFunc(group, func(e operator.Events) bool { return e.Status == status })
			if i < 0 {
				row = append(row, faint.cell("-"))
				continue
			}
			e := group[i]
			c := shownStatus(string(status))
			c.text = grouped(e.Events)
			if e.Estimated {
				c.text, estimated = "~"+c.text, true
			}
			if ages && !e.Oldest.IsZero() {
				c.text += " (" + short(r.At.Sub(e.Oldest)) + ")"
			}
			open = open || status != outbox.Created && status != outbox.Discarded
			row = append(row, c)
		}
		if open {
			t.row(row...)
		} else {
			done = append(done, row)
		}
	}
	for _, row := range done {
		t.row(row...)
	}
	return t, estimated
}

// tell adds what the database knows beside the rows.
func (r *statusReport) tell(t *table, s screen) {
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
		c := plain.cell(text)
		if !q.BlockedUntil.IsZero() {
			c = yellow.cell(fmt.Sprintf("%s; the CRM wants no call for another %s, until %s (%s); 'crmintake resume --all' ends that", text,
				short(q.BlockedUntil.Sub(r.At)), localTime(q.BlockedUntil), shorten(printable(q.BlockedWhy), 200)))
		}
		t.row("quota", c)
		t.row("today", today(q))
	} else {
		t.row("quota", "no call was made under one yet")
	}
	if x := r.Scaling; x != nil {
		t.row("load", x.String())
	}
	if s.height > 0 && len(r.Pauses) > 0 { // by whom, why and until when is said above
		var names []string
		for _, p := range r.Pauses {
			names = append(names, pausedName(p.ObjectType))
		}
		t.row(red.cell("paused"), red.cell(strings.Join(names, ", ")))
	} else {
		r.tellPauses(t)
	}
	waits := func(e operator.Events) bool { return e.Status == outbox.Retry || e.Status == outbox.Unknown }
	switch {
	case len(r.Pauses) == 0:
		t.row("paused", "nothing")
	case s.height == 0 && slices.ContainsFunc(r.Events, waits):
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
	c := plain.cell(text)
	if alive == 0 {
		c.colour = yellow
	}
	t.row("workers", c)
}

// tellPauses adds a row for each pause.
func (r *statusReport) tellPauses(t *table) {
	name := "paused"
	for _, p := range r.Pauses {
		text := fmt.Sprintf("%s, for %s", pausedName(p.ObjectType), short(r.At.Sub(p.Since)))
		if p.By != "" {
			text += ", by " + p.By
		}
		if !p.TrialAt.IsZero() {
			text += ", next trial in " + short(p.TrialAt.Sub(r.At))
		}
		t.row(red.cell(name), red.cell(text+": "+p.Reason))
		name = ""
	}
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
