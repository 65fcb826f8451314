package main

import (
	"context"
	"errors"
	"os/user"
	"strings"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/event"
)

// asFlag says who is at work, for the audit.
type asFlag struct {
	As string `help:"Who you are, for the audit; else the system's user." placeholder:"NAME"`
}

func (f asFlag) operator() (string, error) {
	if name := strings.TrimSpace(f.As); name != "" {
		return strings.ToValidUTF8(name, "\uFFFD"), nil
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username, nil
	}
	return "", flags.Usagef("the system does not say who you are: say it with --as NAME")
}

// session is where an operator works: the outbox, opened.
type session struct {
	*operator.Operator
	store *outbox.Store
}

// openDesk opens the outbox for whoever is at work. Close the store.
func openSession(ctx context.Context, f flags.Database, as asFlag) (*session, error) {
	name, err := as.operator()
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, f, 2)
	if err != nil {
		return nil, err
	}
	return &session{operator.New(store, operator.Config{Name: name, Check: sendable}), store}, nil
}

// readDesk is for commands that only read, for which it doesn't matter who asks.
func readSession(ctx context.Context, f flags.Database) (*session, error) {
	return openSession(ctx, f, asFlag{As: "reader"})
}

// listFlags are those of commands that list what persons look for.
type listFlags struct {
	flags.Database
	Limit int `help:"How many at most." default:"50" placeholder:"N"`
}

func (f listFlags) session(ctx context.Context) (*session, error) {
	if f.Limit < 1 {
		return nil, flags.Usagef("--limit %d: want at least 1", f.Limit)
	}
	return readSession(ctx, f.Database)
}

// sendable says why a worker would not send an event.
func sendable(eventID, objectType string, payload []byte) error {
	if objectType == "" {
		return errors.New("its subject names no object type, so no edit helps: publish it again on the right subject")
	}
	_, err := event.Decode(payload, "", eventID)
	return err
}

// operatorError tells what is the fault of what was typed.
func operatorError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, operator.ErrEverything):
		return flags.Usagef("this would take every dead event: name events or give a filter, or say --all; nothing " +
			"was changed")
	case errors.Is(err, operator.ErrNoReason):
		return flags.Usagef("say why, with --reason; nothing was changed")
	case errors.Is(err, operator.ErrNotDead):
		return flags.Usagef("the event is not dead, and only dead events are changed by hand; " +
			"'crmintake dead show' tells where it stands, and 'crmintake outbox give-up' makes a dead letter of one " +
			"that waits in retry " +
			"or unknown, 'crmintake dead restore' of a discarded one")
	case errors.Is(err, operator.ErrEdited):
		return errors.New("somebody else edited the event after you read it; nothing was changed. Look at it with " +
			"'crmintake dead show', and edit it anew")
	case errors.As(err, new(*operator.UnfitError)):
		return flags.Usagef("the edited event could not be sent: %w; nothing was changed", err)
	case errors.As(err, new(*operator.FilterError)), errors.As(err, new(*operator.ChangeError)), errors.As(err,
		new(*operator.UnknownEventError)):
		return flags.Usage(err)
	}
	return err
}
