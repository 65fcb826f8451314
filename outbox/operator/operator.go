package operator

import "crmintake/outbox"

// Operator is a person at work on the outbox: each subject is a field.
type Operator struct {
	DeadLetters DeadLetters
	Waiting     Waiting
	Replays     Replays
	Pauses      Pauses

	session
}

// DeadLetters finds dead events, edits and discards them, and takes a discard back.
type DeadLetters struct{ session }

// Waiting ends the wait of events that are in `retry` or `unknown`: it gives up on them, has them tried now, or puts
// them in doubt.
type Waiting struct{ session }

// Replays sends dead events again, at once or by jobs that the fleet's workers do.
type Replays struct{ session }

// Pauses begins and ends pauses of the fleet's calls.
type Pauses struct{ session }

// Config says who the operator is, and what this package can't know.
type Config struct {
	Name string // of the person, for the audit
	// Check says why an event could not be sent as it is, in words for a person. Edit needs it.
	Check func(eventID, objectType string, payload []byte) error
}

// New makes an operator on the store's connections.
func New(store *outbox.Store, cfg Config) *Operator {
	s := session{store, store.Pool(), cfg}
	return &Operator{DeadLetters{s}, Waiting{s}, Replays{s}, Pauses{s}, s}
}
