package main

import (
	"context"
	"fmt"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

// steerFlags are those of what is done to a bulk replay.
type steerFlags struct {
	replayArg
	asFlag
	Reason string `help:"Why, for whoever asks later." placeholder:"TEXT"`
}

type (
	replayPauseCmd  struct{ steerFlags }
	replayResumeCmd struct{ steerFlags }
	replayCancelCmd struct{ steerFlags }
)

func (c *replayPauseCmd) Run(ctx context.Context, p *program) error {
	return c.steer(ctx, p, (*operator.Replays).Pause)
}

func (c *replayResumeCmd) Run(ctx context.Context, p *program) error {
	return c.steer(ctx, p, (*operator.Replays).Resume)
}

func (c *replayCancelCmd) Run(ctx context.Context, p *program) error {
	return c.steer(ctx, p, (*operator.Replays).Cancel)
}

// steerView is what they print for programs.
type steerView struct {
	Changed bool               `json:"changed"` // false: it was so already, or had ended
	Replay  operator.ReplayJob `json:"replay"`
}

func (c *steerFlags) steer(ctx context.Context, p *program,
	do func(*operator.Replays, context.Context, int64, string) (operator.ReplayJob, bool, error)) error {
	d, err := openSession(ctx, c.Database, c.asFlag)
	if err != nil {
		return err
	}
	defer d.store.Close()
	job, changed, err := do(&d.Replays, ctx, c.ID, c.Reason)
	if err != nil {
		return c.error(err)
	}
	p.redactFilter(&job.Filter)
	if p.Output == "json" {
		return view.JSON(p.out, steerView{changed, job})
	}
	was := "is"
	if !changed {
		was = "was already"
	}
	fmt.Fprintf(p.out, "Replay %d %s %s: %d of %s sent again, %d left.\n", job.ID, was, job.State, job.Replayed,
		view.Count(int(job.Events), "event"), job.Left())
	return nil
}
