package worker

import (
	"cmp"
	"context"
	"time"
)

// CRM is the API that creates records. Its methods may be called by many goroutines at once.
//
// A CRM never retries a call by itself: one method call is at most one request on the wire. It reports everything in
// the answer, never by panic, and the answer always has one outcome for each input, aligned by index.
type CRM interface {
	// Create sends the inputs (1 to 100) in one call. The call ends by ctx's deadline at the latest; no byte of a
	// request that is not complete by then makes a complete request later. The inputs' slice is the caller's again
	// then.
	Create(ctx context.Context, objectType string, inputs []Input) Answer

	// Read looks up records by the unique values (1 to 100, distinct) of an id property, or, where idProperty is "", by
	// record ids. It asks for the named properties of each record besides. It changes nothing.
	Read(ctx context.Context, objectType, idProperty string, values, properties []string) ReadAnswer

	// CredentialVersion returns a word that changes when the credential does. It is no secret.
	CredentialVersion() string
}

// DefaultCallTimeout is how long the answer to a call is waited for, unless the settings say otherwise.
const DefaultCallTimeout = 30 * time.Second

// Verdict is what became of one input of a call.
type Verdict uint8

const (
	// Unknown: the input may or may not have been applied. It is the zero value: what nobody accounted for is unknown.
	Unknown Verdict = iota
	// Created: a record exists, its id is known.
	Created
	// Rejected: definitely not applied, and the input's own fault: sending it again as it is will not help.
	Rejected
	// NotApplied: definitely not applied, and not the input's fault: it may be sent again.
	NotApplied
)

// Outcome is what became of one input.
type Outcome struct {
	Verdict  Verdict
	RecordID string     // set when Created
	URL      string     // the record's url, if the answer has one
	Warnings []byte     // the warnings, a JSON array as received; nil if there are none
	Result   []byte     // the result as received, JSON; nil unless Created
	Conflict bool       // Rejected because a unique value exists already
	Existing string     // with Conflict: the id of the record that has the value, if the answer tells
	Errors   []APIError // why, for everything but Created; may be empty when only Answer.Detail tells
}

// APIError is one error of an answer that names an input, or that a whole call ended with.
type APIError struct {
	Category string // e.g. VALIDATION_ERROR, CONFLICT; "" when the answer has none
	Message  string // for people; may hold anything that the CRM sends, NUL and invalid UTF-8 included
	Property string // the property that the error is about; "" if it does not tell
	Rule     string // what was broken, in the CRM's words, e.g. INVALID_OPTION; "" if it does not tell
	Raw      []byte // the error as received, at most 64 KiB of it; nil when there was no answer
}

// Class is what a call's answer means for the batch as a whole, decided once, at the HTTP edge, by the table in
// package hubspot.
type Class uint8

const (
	// Ambiguous: the call may have been applied in part or whole; every input is Unknown. The zero value.
	Ambiguous Class = iota
	// Answered: the answer speaks for each input (2xx); judge by outcome.
	Answered
	// Refused: nothing was applied because of something in the batch (400, 409, 422). Inputs that the answer names
	// are Rejected, the others NotApplied; a lone input is Rejected. With several inputs and nobody named, all are
	// NotApplied and splitting the batch finds the culprit.
	Refused
	// TooLarge: nothing was applied because the request is too large (413): split it by bytes. A lone input is
	// Rejected.
	TooLarge
	// Throttled: nothing was applied; wait Answer.Wait and send less (429, 423).
	Throttled
	// Unavailable: the call did not reach the CRM, or the CRM said that it did not work on it (refused connection,
	// DNS, TLS, 503, 521…): nothing was applied; wait.
	Unavailable
	// PauseAccount: nothing was applied, and no call of this account will be until somebody mends it or Answer.Wait has
	// passed (401, 477, the daily quota).
	PauseAccount
	// PauseObjectType: the same for this object type (403, 404, 405, an object type that the account does not know,
	// redirects and other answers that come from a wrong address). Call.PerhapsOneInput tells of those that a single
	// input may have brought about.
	PauseObjectType
)

// Cause is what a Class leaves open and the parts above act on. It is decided at the HTTP edge: they look at no status.
type Cause uint8

const (
	// NoCause: the Class says all.
	NoCause Cause = iota
	// NoAnswer: no answer came, be it that the call was not made.
	NoAnswer
	// BadCredential: the CRM refused the credential (401), or there is none.
	BadCredential
	// MissingScope: the credential is good, and may not do this (403).
	MissingScope
	// NotFound: there is no such object type, or, of a read of a property, no such property (404, or a 400 that says so).
	NotFound
	// QuotaUsed: by the headers of a 429 without Retry-After the calls of Limits.Interval are used up. Others made them,
	// and nobody asks for a wait.
	QuotaUsed
)

// Answer is all that one create call told.
type Answer struct {
	Class    Class
	Outcomes []Outcome // one per input, aligned with the inputs
	Call     Call
}

// Call describes the exchange itself.
type Call struct {
	Status  int   // HTTP status, to be shown and counted; 0 when no answer came
	Cause   Cause // what the Class leaves open
	Success bool  // a 2xx, be it unreadable, or the 404 by which a read says which records there are not
	Unsent  bool  // the call was never begun, as without a credential: the CRM had no part in it

	CorrelationID string        // from the body or the header; HubSpot's support asks for it
	Wait          time.Duration // how long to wait, by Retry-After or the Class's default; 0 if it doesn't matter
	Asked         bool          // the answer itself asks for the wait, by Retry-After

	// Detail is one line for people, never a secret: status, category and message, or the transport's error.
	Detail string
	// LogDetail is Detail for logs: without the CRM's own words about events, which may repeat their values. It is ""
	// where Detail has none; see ForLog.
	LogDetail string
	// Raw is an answer that is no success, or a read's that leaves something open, as received, at most 64 KiB of it; else
	// nil.
	Raw []byte

	// PerhapsOneInput, with PauseObjectType: what one input holds may have brought it about, and not the object type (403,
	// 404). A lone input's Outcome has the error then, and is NotApplied all the same.
	PerhapsOneInput bool
	// AboutAccount: the CRM's words in Detail are about the account or the object type. A pause shows them, in logs too.
	AboutAccount bool

	Date     time.Time // by the answer's Date header, to the second; zero if it has none
	Limits   Limits
	Duration time.Duration // from before the first byte to the end of the answer
}

// ForLog is what may be logged of Detail.
func (c *Call) ForLog() string { return cmp.Or(c.LogDetail, c.Detail) }

// Limits are the quota headers of an answer; each is -1 when the header is absent or is no number.
type Limits struct {
	Max, Remaining        int // calls in the rolling Interval
	Interval              time.Duration
	DailyMax, DailyRemain int
}

// ReadAnswer is all that one read call told. Of a value that is neither in Found nor in Missing it told nothing,
// whatever the class.
type ReadAnswer struct {
	Class   Class
	Found   map[string]Found // by the value asked for
	Missing map[string]bool  // the values that the answer itself names as having no record: nothing else proves that
	Call    Call
}

// Found is a record that a read found.
type Found struct {
	RecordID   string
	URL        string
	CreatedAt  time.Time         // by the CRM's clock; zero if the answer doesn't tell
	Properties map[string]string // of those asked for, the ones that have a value; nil if none were asked for
}
