package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

func (r *statusReport) print(w io.Writer, p *program, s view.Screen) error {
	if p.Output == "json" {
		return view.JSONLine(w, r)
	}
	var head, foot bytes.Buffer
	t := view.NewTable(view.Column{}, view.Column{Fit: true})
	if b := r.Backlog; b != nil {
		text := fmt.Sprintf("%s pending, %s unacked, in stream %s", view.Grouped(b.Pending), view.Grouped(b.Unacked),
			b.Stream)
		if b.Lanes {
			text += "; object types are fetched apart"
		}
		t.Row("backlog", text)
	}
	if r.Status != nil {
		r.tell(t, s)
	}
	if err := t.Print(&foot, s); err != nil {
		return err
	}
	rows := 0 // as many as there are
	r.printVerdict(&head, s, len(r.Verdict.Findings))
	if s.Height > 0 {
		for most := min(mostFindings, len(r.Verdict.Findings)); ; most-- {
			head.Reset()
			r.printVerdict(&head, s, most)
			if rows = s.Height - lines(head) - lines(foot) - roomAround; rows > 0 || most <= 1 {
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
func (r *statusReport) printVerdict(w io.Writer, s view.Screen, most int) {
	v := r.Verdict
	c := map[operator.State]view.Colour{operator.Moving: view.Green, operator.Idle: view.Green, operator.Held: view.Yellow,
		operator.Trouble: view.Red}[v.State]
	s.Indented(w, c, "", v.Text)
	for i, f := range v.Findings {
		if i == most {
			fmt.Fprintf(w, "and %d more: crmintake status | less\n", len(v.Findings)-i)
			break
		}
		if i > 0 || !strings.HasSuffix(v.Text, f.What) && f.State == operator.Moving { // else it is the first line's
			s.Indented(w, view.Plain, "- ", f.Line(r.Verdict.At))
		}
		if f.Why != "" {
			why := f.Why
			if s.Height > 0 {
				why = view.Shorten(why, whyMost)
			}
			s.Indented(w, view.Plain, "  why: ", why)
		}
		s.Indented(w, view.Plain, "  do:  ", f.Do)
	}
	fmt.Fprintln(w)
}

// whyMost is how much of an answer is shown on a terminal.
const whyMost = 300

// shownStatuses are the columns, in the order in which rows go through them.
var shownStatuses = []outbox.Status{outbox.Sending, outbox.Retry, outbox.Unknown, outbox.Dead, outbox.Created,
	outbox.Discarded}

// printEvents prints so many rows at most, those first that are not done; 0: all.
func (r *statusReport) printEvents(w io.Writer, s view.Screen, most int) error {
	if len(r.Events) == 0 && r.Left == "" {
		_, err := fmt.Fprint(w, "The outbox is empty.\n\n")
		return err
	}
	t, estimated := r.eventTable(true)
	if s.Width > 0 && t.Width() > s.Width {
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
		if more := t.Keep(most); more > 0 {
			note += fmt.Sprintf(" And %d more object types: crmintake status | less", more)
		}
	}
	if !t.IsEmpty() {
		if err := t.Print(w, s); err != nil {
			return err
		}
	}
	foot := view.NewTable(view.Column{Fit: true})
	foot.Row(view.Faint.Cell(note))
	foot.Row("")
	return foot.Print(w, s)
}

// eventTable has a row for each object type, what is not done first, and a column for each status that some events
// have.
func (r *statusReport) eventTable(ages bool) (t *view.Table, estimated bool) {
	columns := []view.Column{{Title: "OBJECT TYPE", Fit: true}}
	var statuses []outbox.Status
	for _, status := range shownStatuses {
		if slices.ContainsFunc(r.Events, func(e outbox.EventCount) bool { return e.Status == status }) {
			statuses = append(statuses, status)
			columns = append(columns, view.Column{Title: strings.ToUpper(string(status)), Right: true})
		}
	}
	t = view.NewTable(columns...)
	var done [][]any
	for rest := r.Events; len(rest) > 0; { // they are sorted
		n := slices.IndexFunc(rest, func(e outbox.EventCount) bool { return e.ObjectType != rest[0].ObjectType })
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
			i := slices.IndexFunc(group, func(e outbox.EventCount) bool { return e.Status == status })
			if i < 0 {
				row = append(row, view.Faint.Cell("-"))
				continue
			}
			e := group[i]
			c := view.Status(string(status))
			c.Text = view.Grouped(e.Events)
			if e.Estimated {
				c.Text, estimated = "~"+c.Text, true
			}
			if ages && !e.Oldest.IsZero() {
				c.Text += " (" + view.Short(r.At.Sub(e.Oldest)) + ")"
			}
			open = open || status != outbox.Created && status != outbox.Discarded
			row = append(row, c)
		}
		if open {
			t.Row(row...)
		} else {
			done = append(done, row)
		}
	}
	for _, row := range done {
		t.Row(row...)
	}
	return t, estimated
}

// tell adds what the database knows beside the rows.
func (r *statusReport) tell(t *view.Table, s view.Screen) {
	calls := "none in flight"
	if n := r.Calls.Create + r.Calls.Read; n > 0 {
		calls = fmt.Sprintf("%d in flight (%d create, %d read), the oldest for %s", n, r.Calls.Create, r.Calls.Read,
			view.Short(r.At.Sub(r.Calls.Oldest)))
	}
	t.Row("calls", calls)
	if q := r.Quota; q != nil {
		text := fmt.Sprintf("%d of %d calls used in the last %s, %d left", q.Used, q.Calls, q.Window, q.Left)
		if q.Others > 0 {
			text += fmt.Sprintf(", about %d used by other apps", q.Others)
		}
		c := view.Plain.Cell(text)
		if !q.BlockedUntil.IsZero() {
			c = view.Yellow.Cell(fmt.Sprintf("%s; the CRM wants no call for another %s, until %s (%s); 'crmintake "+
				"resume --all' ends that", text,
				view.Short(q.BlockedUntil.Sub(r.At)), view.Time(q.BlockedUntil), view.Shorten(view.Printable(q.BlockedWhy), 200)))
		}
		t.Row("quota", c)
		t.Row("today", today(q))
	} else {
		t.Row("quota", "no call was made under one yet")
	}
	if x := r.Scaling; x != nil {
		t.Row("load", x.String())
	}
	if s.Height > 0 && len(r.Pauses) > 0 { // by whom, why and until when is said above
		var names []string
		for _, p := range r.Pauses {
			names = append(names, pausedName(p.ObjectType))
		}
		t.Row(view.Red.Cell("paused"), view.Red.Cell(strings.Join(names, ", ")))
	} else {
		r.tellPauses(t)
	}
	waits := func(e outbox.EventCount) bool { return e.Status == outbox.Retry || e.Status == outbox.Unknown }
	switch {
	case len(r.Pauses) == 0:
		t.Row("paused", "nothing")
	case s.Height == 0 && slices.ContainsFunc(r.Events, waits):
		t.Row("", "what waits in retry or unknown ages on; 'crmintake outbox give-up' makes dead letters of it at once")
	}
	alive := 0
	var silent []string
	for _, w := range r.Workers {
		if w.Alive {
			alive++
		} else {
			silent = append(silent, fmt.Sprintf("%s for %s", w.Name, view.Short(r.At.Sub(w.SeenAt))))
		}
	}
	text := fmt.Sprintf("%d alive", alive)
	if len(silent) > 0 {
		text += "; silent: " + strings.Join(silent, ", ")
	}
	c := view.Plain.Cell(text)
	if alive == 0 {
		c.Colour = view.Yellow
	}
	t.Row("workers", c)
}

// tellPauses adds a row for each pause.
func (r *statusReport) tellPauses(t *view.Table) {
	name := "paused"
	for _, p := range r.Pauses {
		text := fmt.Sprintf("%s, for %s", pausedName(p.ObjectType), view.Short(r.At.Sub(p.Since)))
		if p.By != "" {
			text += ", by " + p.By
		}
		if !p.TrialAt.IsZero() {
			text += ", next trial in " + view.Short(p.TrialAt.Sub(r.At))
		}
		t.Row(view.Red.Cell(name), view.Red.Cell(text+": "+p.Reason))
		name = ""
	}
}

// today is what was used of the day.
func today(q *outbox.QuotaState) string {
	text := view.Count(q.UsedToday, "call")
	if q.DayLimit > 0 {
		text = fmt.Sprintf("%s of %s calls, %s left", view.Grouped(q.UsedToday), view.Grouped(q.DayLimit),
			view.Grouped(max(q.DayLimit-q.UsedToday, 0)))
	}
	if q.DayMax != nil && q.DayLeft != nil {
		text += fmt.Sprintf("; the account's day has %s left of %s", view.Grouped(*q.DayLeft), view.Grouped(*q.DayMax))
	}
	return text
}

// String says in words what the fleet has to do.
func (x *scaling) String() string {
	text := view.Count(x.Events, "event") + " wait"
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
		return fmt.Sprintf("%s; the quota limits (%s events/s), more workers would not help", text,
			view.Grouped(int(x.QuotaRate)))
	case x.Events > 0 && x.Workers == 0:
		return text + "; no worker is there"
	case x.Events > 0 && x.WorkersWanted > x.Workers:
		return fmt.Sprintf("%s; %d workers would do it faster", text, x.WorkersWanted)
	}
	return text
}
