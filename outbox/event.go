package outbox

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Status is where an event stands. The words are the database's.
type Status string

const (
	Sending   Status = "sending"
	Created   Status = "created"
	Retry     Status = "retry"
	Unknown   Status = "unknown"
	Dead      Status = "dead"
	Discarded Status = "discarded"
)

// Reason is why a row is dead.
type Reason string

const (
	InvalidEvent   Reason = "invalid_event"
	Rejected       Reason = "rejected"
	Conflict       Reason = "conflict"
	Exhausted      Reason = "exhausted"
	UnknownOutcome Reason = "unknown_outcome"
	IDReused       Reason = "id_reused"
)

// Event is what the outbox keeps of an event.
type Event struct {
	ID          string // valid UTF-8 without NUL
	ObjectType  string
	Payload     []byte
	ContentHash [16]byte
	Stream      string
	StreamSeq   uint64

	// Published is when the stream took its message in, by the stream's clock, and Former what an older program would
	// have kept it as, if that differs. Neither is kept.
	Published time.Time
	Former    *Former
}

// Former is what an older program kept an event as.
type Former struct {
	ID          string
	ContentHash [16]byte
}

// IntentResult says what an intent made of an event.
type IntentResult uint8

const (
	// Inserted: the row is `sending` under this attempt; the call is ours to make.
	Inserted IntentResult = iota
	// Duplicate: the outbox has the event already; nothing is left to do but to ack.
	Duplicate
	// Reused: the outbox has another event under this id.
	Reused
)

// Attempt names a call before it is made. The same Attempt may be committed again when the answer to its commit was
// lost.
type Attempt struct {
	ID         uuid.UUID
	ObjectType string
	Worker     string
	// Lease is how long, from the start of the commit and by the database's clock, nobody else touches the rows.
	Lease time.Duration
	// IDProperty is the id property that the inputs of a create call are sent with: what is in doubt of it is asked
	// about by that. "" for none.
	IDProperty string
}

// ByRecordID stands for an id property where a row is asked about by the id of the record that may be its own. No
// property has such a name.
const ByRecordID = "record id"

// Row is an event that was claimed.
type Row struct {
	Event
	Attempts int // since it was last replayed, if it was
	InDoubt  bool
	Misses   int
	// Of an Unknown row: by what it is asked about, "" for nothing; the value of that, "" for the one that the event
	// has; how often a question told nothing of it; and what it is dead for if there is no record of it, "" if it is
	// sent again then.
	IDProperty, IDValue string
	Untold              int
	Pending             Reason
	// Since is how long ago the row came to be, and Age the same, or how long ago it was last replayed; by the
	// database's clock.
	Since, Age time.Duration
}

// Settlement is what became of one row of an attempt.
type Settlement struct {
	EventID string
	Status  Status

	RecordID string // Created
	URL      string
	Warnings []byte
	Result   []byte // kept if not nil
	Keep     bool   // Created: keep the payload

	Reason Reason        // Dead; Unknown: what it is dead for if it has no record, "" if it is sent again then
	Error  string        // all but Created: in words; "" leaves what is there
	Wait   time.Duration // Retry, Unknown: due after this long

	Counted           bool // the call counts as an attempt of the event
	InDoubt           bool // the call may have created a record unseen; never taken back
	Missed            bool // a read has proven that there is no record
	Untold            bool // a read told nothing
	PossibleDuplicate bool // never taken back
	Errors            []Error

	// Of a row that a create call leaves Unknown: by what it is asked about, and the value of that if it is not the
	// event's id.
	IDProperty, IDValue string
}

// Error is one line of the append-only history.
type Error struct {
	Category, Message string
	Property, Rule    string // which property it is about, and which rule was broken; "" if it does not tell
	Raw               []byte
}

// Call is how an attempt ended.
type Call struct {
	Status                                 int  // HTTP; 0: no answer
	Success                                bool // the CRM answered what it was asked
	CorrelationID, Detail                  string
	Created, Rejected, NotApplied, Unknown int
}

// DeadLetter is an event that goes straight to the dead letters.
type DeadLetter struct {
	Event
	Reason Reason
	Error  string
}

// text makes s fit for a Postgres text: valid UTF-8 without NUL.
func text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}
