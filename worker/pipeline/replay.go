package pipeline

import (
	"context"
	"errors"

	"crmintake/outbox/operator"
	"crmintake/worker/event"
)

// feedSteps bounds what one round does for replay jobs, which it shares its time with.
const feedSteps = 20

// feedReplays makes dead events due that a person sends again in bulk. That it fails keeps nobody from anything else,
// nor a job whose step fails another job: that is logged once, and kept with the job.
func (m *maintenance) feedReplays(ctx context.Context) {
	for range feedSteps {
		more, err := m.replays.Feed(ctx)
		if step, ok := errors.AsType[*operator.StepError](err); ok {
			if step.Failures == 1 {
				m.log.Error("a step of a replay failed; trying again, with longer waits",
					"replay", step.Job, "error", step.Err)
			}
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				m.replaying.failed(err)
			}
			return
		}
		m.replaying.worked()
		if !more {
			return
		}
	}
}

// IDValue returns the value that an event itself has for a property with unique values, by which its record can be
// found, or "" if it has none or is no event.
func IDValue(payload []byte, property string) string {
	input, err := event.Decode(payload, property, "")
	if err != nil {
		return ""
	}
	return input.IDValue
}
