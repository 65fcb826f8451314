package operator

import "crmintake/outbox"

// Operator is a person at work on the outbox.
type Operator struct {
	store *outbox.Store
	pool  *outbox.Pool
	cfg   Config
}

// Config says who the operator is, and what this package can't know.
type Config struct {
	Name string // of the person, for the audit
	// Check says why an event could not be sent as it is, in words for a person. Edit needs it.
	Check func(eventID, objectType string, payload []byte) error
}

// New makes an operator on the store's connections.
func New(store *outbox.Store, cfg Config) *Operator { return &Operator{store, store.Pool(), cfg} }
