package operator

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Status is how things stand, all of it at one moment, with what most of the dead are dead for.
type Status struct {
	outbox.Snapshot
	Groups []Group `json:"dead_groups,omitempty"` // the largest one; none if nothing is dead
}

// Status reads how things stand. Its cost does not grow with what is created: see outbox.Reader.Snapshot.
func (o *Operator) Status(ctx context.Context) (s Status, err error) {
	s.Snapshot, err = o.store.Read.Snapshot(ctx, func(ctx context.Context, tx pgx.Tx, v *outbox.Snapshot) error {
		if !slices.ContainsFunc(v.Events, func(e outbox.EventCount) bool { return e.Status == outbox.Dead }) {
			return nil
		}
		top, err := groups(ctx, tx, Filter{}, 1)
		s.Groups = top.List
		return err
	})
	if err != nil {
		return Status{}, fmt.Errorf("operator: status: %w", err)
	}
	return s, nil
}

// Look is Status without Events and Groups: some statements that take a millisecond each.
func (o *Operator) Look(ctx context.Context) (Status, error) {
	v, err := o.store.Read.Look(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("operator: status: %w", err)
	}
	return Status{Snapshot: v}, nil
}
