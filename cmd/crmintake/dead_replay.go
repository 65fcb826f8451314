package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/pipeline"
)

type deadReplayCmd struct {
	flags.Database
	deadFilterFlags
	bulkFlags
	AllowDuplicate bool               `env:"-" help:"Send again, too, what may have a record already where nothing tells, and mark it as a possible duplicate."`
	Rate           float64            `help:"Events a second at most; without it, as fast as the quota lets the workers." placeholder:"N"`
	Detach         bool               `help:"Don't wait for a bulk replay; replay show tells how far it is."`
	Reason         string             `help:"Why, for whoever asks later." placeholder:"TEXT"`
	Quota          flags.Quota        `help:"Calls that all workers together make in any such time, as 190/10s; or off." default:"100/10s" placeholder:"CALLS/TIME"`
	IDProperty     flags.IDProperties `name:"id-property" help:"For each object type a property with unique values, by which its records can be found: objectType=property. Where an event has no value for it, the event's id goes there." placeholder:"TYPE=NAME,…"`
}

func (deadReplayCmd) Help() string {
	return fmt.Sprintf("It first says which events and groups it is about, and asks. Events that change after that "+
		"are left alone, and counted. "+
		"Up to %d events are sent again at once; more, or with --rate, are a job that the workers do, which goes on "+
		"when this command "+
		"is interrupted, and which 'crmintake replay' shows, pauses, resumes and cancels.\n\n"+
		"Replayed is not created: until the CRM has answered, an event is retry. It gets all its attempts again, and "+
		"its age counts anew.\n\n"+
		"An event that may have a record already (unknown_outcome) is asked about before it is sent, if it has a "+
		"value of its own for "+
		"the object type's --id-property and was not edited; else it stays dead unless --allow-duplicate is given.",
		operator.ReplayDirectly)
}

// replayView is what it prints for programs.
type replayView struct {
	Plan   operator.ReplayPlan  `json:"plan"`
	DryRun bool                 `json:"dry_run,omitempty"`
	Done   *operator.ReplayDone `json:"done,omitempty"`   // of a replay at once
	Replay *operator.ReplayJob  `json:"replay,omitempty"` // of a bulk replay
}

func (c *deadReplayCmd) Run(ctx context.Context, p *program) error {
	if err := operator.CheckRate(c.Rate); err != nil {
		return flags.Usagef("--rate: %v", err)
	}
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	f := c.filter()
	f.All = c.All
	plan, err := d.Replays.Plan(ctx, f, operator.Records{Property: c.IDProperty, Value: pipeline.IDValue},
		c.AllowDuplicate)
	if err != nil {
		return operatorError(err)
	}
	text := p.text()
	p.redactGroups(plan.List)
	printPlan(text, plan.Plan, "")
	v := replayView{Plan: plan, DryRun: c.DryRun}
	if plan.TotalEvents > 0 {
		notes, err := c.notes(ctx, d, plan)
		if err != nil {
			return err
		}
		for _, note := range notes {
			fmt.Fprintln(text, note)
		}
		switch {
		case c.DryRun:
		case plan.Sent == 0 && plan.Risk > 0:
			return flags.Usagef("what may have a record already is sent again only with --allow-duplicate; nothing was changed")
		case plan.Sent == 0 && plan.Never > 0:
			return flags.Usagef("none of this can be sent; nothing was changed")
		case plan.Sent == 0:
			fmt.Fprintln(text, "All of it was replayed, edited or discarded just now by somebody else; nothing is left to do.")
		default:
			if err := c.replay(ctx, p, d, text, &v); err != nil {
				return err
			}
		}
	}
	if p.Output == "json" {
		return view.JSON(p.out, v)
	}
	return nil
}

// notes say what a person should know beside the groups.
func (c *deadReplayCmd) notes(ctx context.Context, d *session, plan operator.ReplayPlan) (notes []string, err error) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if plan.Sent > 0 {
		note("%s to send in %s, %s.", view.Count(int(plan.Sent), "event"), view.Count(int(plan.Calls), "call"),
			c.duration(plan))
	}
	if plan.Ask > 0 {
		note("%d may have a record already, and are asked about first.", plan.Ask)
	}
	switch {
	case plan.Risk > 0 && c.AllowDuplicate:
		note("%d may have a record already: they are sent all the same, and marked as possible duplicates.", plan.Risk)
	case plan.Risk > 0:
		note("%d may have a record already, and nothing tells: they stay dead. --allow-duplicate sends them all the "+
			"same, and marks them.", plan.Risk)
	}
	if plan.Never > 0 {
		note("%d can't be sent: the subject names no object type.", plan.Never)
	}
	pauses, err := d.store.Pauses.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, pause := range pauses {
		what := "Calls"
		if pause.ObjectType != outbox.Account {
			what = "Calls for " + view.Printable(pause.ObjectType)
		}
		note("%s are paused, and events wait until that ends: %s", what, view.Shorten(view.Printable(pause.Reason), 200))
	}
	workers, err := d.store.Fleet.List(ctx)
	if err != nil {
		return nil, err
	}
	alive := false
	for _, w := range workers {
		alive = alive || w.Alive
	}
	if !alive {
		note("No worker is running now; nothing is sent before one is.")
	}
	return notes, nil
}

// duration says how long it takes at least.
func (c *deadReplayCmd) duration(plan operator.ReplayPlan) string {
	if c.Rate > 0 {
		byRate := seconds(float64(plan.Sent) / c.Rate)
		if q := pipeline.Quota(c.Quota); q.Calls == 0 || byRate > time.Duration(plan.Calls)*q.Window/time.Duration(q.Calls) {
			return fmt.Sprintf("about %v at %v events/s", byRate, c.Rate)
		}
	}
	q := pipeline.Quota(c.Quota)
	if q.Calls == 0 {
		return "as fast as the CRM takes them"
	}
	return fmt.Sprintf("about %v of the quota of %s, which other events share",
		seconds(float64(plan.Calls)/float64(q.Calls)*q.Window.Seconds()), quotaText(q))
}

func seconds(s float64) time.Duration {
	// An absurd rate is not to end as a negative time.
	return time.Duration(min(max(s, 1), (365*24*time.Hour).Seconds())) * time.Second
}

func (c *deadReplayCmd) replay(ctx context.Context, p *program, d *session, text io.Writer, v *replayView) error {
	if !c.Yes {
		if err := p.confirm(ctx, fmt.Sprintf("Should crmintake replay %s?", view.Count(int(v.Plan.Sent),
			"event"))); err != nil {
			return err
		}
	}
	r := operator.Replay{Plan: v.Plan, Rate: c.Rate, Reason: c.Reason}
	if v.Plan.TotalEvents <= operator.ReplayDirectly && c.Rate == 0 {
		done, err := d.Replays.Now(ctx, r)
		if errors.Is(err, operator.ErrNothing) {
			done, err = operator.ReplayDone{Skipped: v.Plan.TotalEvents}, nil
		}
		if err != nil {
			return operatorError(err)
		}
		v.Done = &done
		fmt.Fprintf(text, "Sent again: %s", view.Count(int(done.Replayed), "event"))
		if done.Skipped > 0 {
			fmt.Fprintf(text, "; %d skipped, because they changed meanwhile or can't be sent", done.Skipped)
		}
		if done.Held > 0 {
			fmt.Fprintf(text, "; %d held", done.Held)
		}
		fmt.Fprintln(text, ". 'crmintake dead show EVENT_ID' tells what becomes of one.")
		return nil
	}
	job, err := d.Replays.Start(ctx, r)
	if errors.Is(err, operator.ErrNothing) {
		v.Done = &operator.ReplayDone{Skipped: v.Plan.TotalEvents}
		fmt.Fprintf(text, "Nothing is left of it: %s changed meanwhile.\n", view.Count(int(v.Plan.TotalEvents), "event"))
		return nil
	}
	if err != nil {
		return operatorError(err)
	}
	v.Replay = &job
	if c.Detach {
		fmt.Fprintf(text, "Replay %d is started; 'crmintake replay show %d' tells how far it is.\n", job.ID, job.ID)
		return nil
	}
	if job, err = c.wait(ctx, p, d, job.ID); err != nil {
		return err
	}
	printJob(text, &job)
	return nil
}

// wait returns when the job has ended and the CRM has answered for all that it sent again.
func (c *deadReplayCmd) wait(ctx context.Context, p *program, d *session, id int64) (job operator.ReplayJob,
	err error) {
	var bar *progressbar.ProgressBar
	for {
		begin := time.Now()
		job, err = d.Replays.Get(ctx, id)
		if err == nil {
			if bar == nil && view.IsTerminal(p.err) {
				bar = progressbar.NewOptions64(job.Events, progressbar.OptionSetWriter(p.err),
					progressbar.OptionSetDescription(fmt.Sprintf("replay %d", id)),
					progressbar.OptionShowCount(), progressbar.OptionSetItsString("events"), progressbar.OptionClearOnFinish())
			}
			if bar != nil {
				bar.Describe(fmt.Sprintf("replay %d, %s", id, job.State))
				_ = bar.Set64(job.Skipped + job.Held + job.Answered())
			}
			if job.Ended() && job.Answered() == job.Replayed {
				if bar != nil {
					_ = bar.Clear()
				}
				return job, nil
			}
		}
		t := time.NewTimer(between(time.Since(begin)))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		if bar != nil && (ctx.Err() != nil || err != nil) {
			_ = bar.Clear()
		}
		if ctx.Err() != nil || err != nil {
			why := errors.New("interrupted")
			if ctx.Err() == nil {
				why = err
			}
			return job, fmt.Errorf("%w, and replay %d goes on: 'crmintake replay show %d' tells how far it is, "+
				"'crmintake replay cancel %d' ends it", why, id, id, id)
		}
	}
}
