package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
)

type replayCmd struct {
	List   replayListCmd   `cmd:"" help:"List bulk replays, the last first."`
	Show   replayShowCmd   `cmd:"" help:"Show one bulk replay: how far it is, and what became of its events."`
	Pause  replayPauseCmd  `cmd:"" help:"Hold a bulk replay: what it has not sent again stays dead for now."`
	Resume replayResumeCmd `cmd:"" help:"Let a bulk replay go on."`
	Cancel replayCancelCmd `cmd:"" help:"End a bulk replay: what it has not sent again stays dead."`
}

// replayArg names a bulk replay.
type replayArg struct {
	flags.Database
	ID int64 `arg:"" name:"replay" help:"The replay's number, as replay list tells."`
}

func (a replayArg) error(err error) error {
	if errors.Is(err, operator.ErrNoReplay) {
		return flags.Usagef("there is no replay %d; 'crmintake replay list' tells which there are", a.ID)
	}
	return err
}

// printJob tells all of a replay. What was sent again is not created before the CRM has answered.
func printJob(w io.Writer, j *operator.ReplayJob) {
	fmt.Fprintf(w, "Replay %d is %s; started %s by %s", j.ID, j.State, view.Time(j.StartedAt), view.Printable(j.Operator))
	if !j.EndedAt.IsZero() {
		fmt.Fprintf(w, ", ended %s", view.Time(j.EndedAt))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, n int64, note string) {
		if n > 0 || name == "events" {
			fmt.Fprintf(t, "%s\t%d\t%s\n", name, n, note)
		}
	}
	if j.Reason != "" {
		fmt.Fprintf(t, "reason\t%s\n", view.Printable(j.Reason))
	}
	fmt.Fprintf(t, "filter\t%s\n", view.Printable(filterWords(&j.Filter)))
	if j.Rate > 0 {
		fmt.Fprintf(t, "rate\t%v events/s\n", j.Rate)
	}
	line("events", j.Events, "")
	line("sent again", j.Replayed, fates(j.Now))
	line("skipped", j.Skipped, "had changed meanwhile, or can't be sent")
	line("held", j.Held, "may have a record already; --allow-duplicate sends such all the same")
	line("left", j.Left(), "")
	if j.Failures > 0 {
		line("failed steps", int64(j.Failures), "in a row; the last: "+view.Printable(j.Failure))
	}
	if !j.RetryAt.IsZero() {
		fmt.Fprintf(t, "tried again\t%s\n", view.Time(j.RetryAt))
	}
	_ = t.Flush()
}

// fates says what became of events.
func fates(now map[outbox.Status]int64) string {
	var parts []string
	for _, f := range []struct {
		status outbox.Status
		words  string
	}{
		{outbox.Created, "created"}, {outbox.Dead, "dead again"}, {outbox.Discarded, "discarded"}, {outbox.Retry, "retry"},
		{outbox.Sending, "sending"}, {outbox.Unknown, "unknown"},
	} {
		if n := now[f.status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, f.words))
		}
	}
	return strings.Join(parts, ", ")
}

// between is how often a command that waits asks: no more than a fifth of the time is spent on it.
func between(took time.Duration) time.Duration { return max(500*time.Millisecond, 4*took) }
