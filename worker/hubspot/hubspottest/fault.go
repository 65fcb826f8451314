package hubspottest

import (
	"fmt"
	"math"
	"net/http"
)

// Fault names one way in which a call goes wrong, or an answer differs from the plainest one.
//
// "The first" inputs are those at the head of the request. Where inputs are rejected, the rest is created as usual; a
// batch without trace ids has no partial answers, and is refused as a whole then.
type Fault string

// None is a call without fault.
const None Fault = "none"

// All inputs are created, but the answer is not the plainest one.
const (
	// NoTraceIDs leaves the trace ids out of the results.
	NoTraceIDs Fault = "no-trace-ids"
	// Status200 answers 200 where 201 was due.
	Status200 Fault = "status-200"
	// UnknownTraceID gives the first input's result a trace id that nobody sent.
	UnknownTraceID Fault = "unknown-trace-id"
	// DoubledResults has each result twice.
	DoubledResults Fault = "doubled-results"
	// ContradictoryResults has the first input's result a second time, under the id of a record that does not exist.
	ContradictoryResults Fault = "contradictory-results"
	// MoreResults adds a result that belongs to no input, with a trace id and a record that nobody knows.
	MoreResults Fault = "more-results"
)

// Inputs are rejected although nothing is wrong with them, or the errors have another form.
const (
	// RejectAll rejects every input, each with its error.
	RejectAll Fault = "reject-all"
	// OneErrorNamesSeveral rejects the first two inputs with one error that names both.
	OneErrorNamesSeveral Fault = "one-error-names-several"
	// SeveralErrorsNameOne rejects the first input with two errors.
	SeveralErrorsNameOne Fault = "several-errors-name-one"
	// ErrorNamesNobody rejects the first input; its error has a context, but no trace id in it.
	ErrorNamesNobody Fault = "error-names-nobody"
	// ContextAbsent rejects the first input; its error has no context.
	ContextAbsent Fault = "context-absent"
	// ContextString rejects the first input; its error's context is one string, "{objectWriteTraceId=[…]}".
	ContextString Fault = "context-string"
	// SubCategoryObject rejects the first input; its error has a subCategory that is an object.
	SubCategoryObject Fault = "subcategory-object"
	// SubCategoryString rejects the first input; its error has a subCategory that is a string.
	SubCategoryString Fault = "subcategory-string"

	// WholeBatch lets one bad input fail the whole batch, although every input has a trace id: 400 or 409, nothing is
	// written and nobody named. At a rate of 1, splitting is the only way to find the culprits.
	WholeBatch Fault = "whole-batch"
)

// Each conflict that there is, whether it is told in a 207 or fails the batch, has another form than CONFLICT with the
// existing record's id. A call without conflicts is as any other.
const (
	// ConflictWithoutID leaves the existing record's id out.
	ConflictWithoutID Fault = "conflict-without-id"
	// ConflictAsValidation is a VALIDATION_ERROR, 400, with CONFLICTING_UNIQUE_VALUE in the message.
	ConflictAsValidation Fault = "conflict-as-validation"
	// ConflictAsCoordinates is a VALIDATION_ERROR, 400: "Cannot set PropertyValueCoordinates{…} on A. B already has
	// that value." B is the record that has it, A an id that no record has.
	ConflictAsCoordinates Fault = "conflict-as-coordinates"
	// ConflictAsExists is an OBJECT_ALREADY_EXISTS, 409, with an error such as CONTACT_EXISTS.
	ConflictAsExists Fault = "conflict-as-exists"
	// ConflictAsErrorType has ConflictAsCoordinates' message, the errorType UNIQUE_VALUE_CONFLICT and errorTokens.
	// Where it fails the batch, it has no category.
	ConflictAsErrorType Fault = "conflict-as-error-type"
)

// If any input conflicts, the whole batch fails, although every input has a trace id: nothing is written and nobody
// named. The forms are CONFLICT's and those above. What else is wrong with an input is told as usual where no input
// conflicts.
const (
	ConflictWhole            Fault = "conflict-whole"
	ConflictWholeWithoutID   Fault = "conflict-whole-without-id"
	ConflictWholeValidation  Fault = "conflict-whole-validation"
	ConflictWholeCoordinates Fault = "conflict-whole-coordinates"
	ConflictWholeExists      Fault = "conflict-whole-exists"
	ConflictWholeErrorType   Fault = "conflict-whole-error-type"
)

// AssociationDropped creates the first input that has associations without them, and says nothing of it.
const AssociationDropped Fault = "association-dropped"

// A read tells of records in another form than the plain one: 200 or 207 with all that exist, and one error that names
// all that do not.
const (
	// ReadEmptyIfMissing answers 207 without any result as soon as a value has no record, with an error that names the
	// first such one only. When none has a record, it answers 404 OBJECT_NOT_FOUND, which names all.
	ReadEmptyIfMissing Fault = "read-empty-if-missing"
	// Read404Unnamed is the same, but the 404 names nobody.
	Read404Unnamed Fault = "read-404-unnamed"
	// ReadLeavesOut is silent about the first value that has no record or, where all have one, of the first value.
	ReadLeavesOut Fault = "read-leaves-out"
)

// Only a part of the inputs is accounted for.
const (
	// NoResults answers 201, and 200 to a read, with neither results nor errors; nothing is written.
	NoResults Fault = "no-results"
	// The next four answer 201 with another status than COMPLETE. The first half of the inputs (rounded up) is worked
	// on and accounted for. Of the others the answer says nothing; every second of them is created all the same.
	StatusPending    Fault = "status-pending"
	StatusProcessing Fault = "status-processing"
	StatusCanceled   Fault = "status-canceled"
	StatusCancelled  Fault = "status-cancelled"
)

// The call is refused as a whole: nothing is written, nobody is named. Bodies are JSON errors, but for 502 and above
// HTML from the edge, without the quota's headers.
const (
	Answer400           Fault = "400"
	Answer400Type       Fault = "400-unknown-type" // as if the account did not know the object type
	Answer401           Fault = "401"              // EXPIRED_AUTHENTICATION
	Answer403           Fault = "403"              // MISSING_SCOPES
	Answer404           Fault = "404"
	Answer405           Fault = "405"
	Answer409           Fault = "409"
	Answer413           Fault = "413"
	Answer423           Fault = "423"
	Answer429           Fault = "429"             // policy TEN_SECONDLY_ROLLING
	Answer429RetryAfter Fault = "429-retry-after" // the same, with Retry-After
	Answer429Secondly   Fault = "429-secondly"    // policy SECONDLY
	Answer429Daily      Fault = "429-daily"       // policy DAILY
	Answer477           Fault = "477"             // with Retry-After
	Answer500           Fault = "500"
	Answer502           Fault = "502"
	Answer503           Fault = "503"
	Answer504           Fault = "504"
	Answer521           Fault = "521"
	Answer522           Fault = "522"
	Answer523           Fault = "523"
	Answer525           Fault = "525"
	Answer526           Fault = "526"
)

// The same, but the work was done before.
const (
	Answer500Written Fault = "500-written"
	Answer502Written Fault = "502-written"
	Answer504Written Fault = "504-written"
	Answer524Written Fault = "524-written"
)

// The work is done, but its answer can't be read.
const (
	// HTMLBody answers with the right status and a page of HTML.
	HTMLBody Fault = "html-body"
	// EmptyBody answers with the right status and no body.
	EmptyBody Fault = "empty-body"
	// TruncatedBody stops in the middle of the body and closes the connection.
	TruncatedBody Fault = "truncated-body"
	// LargeBody fills the answer up with white space to Config.LargeAnswer bytes. It is valid JSON.
	LargeBody Fault = "large-body"
)

// The connection breaks, or time runs out.
const (
	// BreakBefore resets the connection before any work.
	BreakBefore Fault = "break-before"
	// BreakAfter does all the work, then resets the connection without an answer.
	BreakAfter Fault = "break-after"
	// SlowAnswer does all the work, then waits Config.Delay before it answers.
	SlowAnswer Fault = "slow-answer"
	// LateWork waits Config.Delay and does the work then, even if the caller has gone meanwhile.
	LateWork Fault = "late-work"
)

// effect is what a fault does, as far as it can be told by values. What can't is in the code that makes the answer.
type effect struct {
	fault      Fault
	status     int    // answered instead of the API's own answer
	written    bool   // with status: after the work is done
	retryAfter bool   // with status: has a Retry-After header
	policy     string // of a 429
	rejects    int    // so many of the first inputs are rejected
	word       string // the answer's status word, with a part of the inputs accounted for
	form       Fault  // how conflicts are told, by the fault that says so for a 207
	onConflict bool   // a conflict fails the batch
	create     bool   // only sensible for a create
	read       bool   // only sensible for a read
}

var effects = []effect{
	{fault: NoTraceIDs, create: true},
	{fault: Status200, create: true},
	{fault: UnknownTraceID, create: true},
	{fault: DoubledResults},
	{fault: ContradictoryResults, create: true},
	{fault: MoreResults, create: true},

	{fault: RejectAll, rejects: math.MaxInt, create: true},
	{fault: OneErrorNamesSeveral, rejects: 2, create: true},
	{fault: SeveralErrorsNameOne, rejects: 1, create: true},
	{fault: ErrorNamesNobody, rejects: 1, create: true},
	{fault: ContextAbsent, rejects: 1, create: true},
	{fault: ContextString, rejects: 1, create: true},
	{fault: SubCategoryObject, rejects: 1, create: true},
	{fault: SubCategoryString, rejects: 1, create: true},
	{fault: WholeBatch, create: true},

	{fault: ConflictWithoutID, form: ConflictWithoutID, create: true},
	{fault: ConflictAsValidation, form: ConflictAsValidation, create: true},
	{fault: ConflictAsCoordinates, form: ConflictAsCoordinates, create: true},
	{fault: ConflictAsExists, form: ConflictAsExists, create: true},
	{fault: ConflictAsErrorType, form: ConflictAsErrorType, create: true},
	{fault: ConflictWhole, onConflict: true, create: true},
	{fault: ConflictWholeWithoutID, form: ConflictWithoutID, onConflict: true, create: true},
	{fault: ConflictWholeValidation, form: ConflictAsValidation, onConflict: true, create: true},
	{fault: ConflictWholeCoordinates, form: ConflictAsCoordinates, onConflict: true, create: true},
	{fault: ConflictWholeExists, form: ConflictAsExists, onConflict: true, create: true},
	{fault: ConflictWholeErrorType, form: ConflictAsErrorType, onConflict: true, create: true},
	{fault: AssociationDropped, create: true},

	{fault: ReadEmptyIfMissing, read: true},
	{fault: Read404Unnamed, read: true},
	{fault: ReadLeavesOut, read: true},

	{fault: NoResults},
	{fault: StatusPending, word: "PENDING"},
	{fault: StatusProcessing, word: "PROCESSING"},
	{fault: StatusCanceled, word: "CANCELED"},
	{fault: StatusCancelled, word: "CANCELLED"},

	{fault: Answer400, status: http.StatusBadRequest},
	{fault: Answer400Type, status: http.StatusBadRequest},
	{fault: Answer401, status: http.StatusUnauthorized},
	{fault: Answer403, status: http.StatusForbidden},
	{fault: Answer404, status: http.StatusNotFound},
	{fault: Answer405, status: http.StatusMethodNotAllowed},
	{fault: Answer409, status: http.StatusConflict},
	{fault: Answer413, status: http.StatusRequestEntityTooLarge},
	{fault: Answer423, status: http.StatusLocked},
	{fault: Answer429, status: http.StatusTooManyRequests, policy: policyRolling},
	{fault: Answer429RetryAfter, status: http.StatusTooManyRequests, policy: policyRolling, retryAfter: true},
	{fault: Answer429Secondly, status: http.StatusTooManyRequests, policy: policySecondly},
	{fault: Answer429Daily, status: http.StatusTooManyRequests, policy: policyDaily},
	{fault: Answer477, status: 477, retryAfter: true},
	{fault: Answer500, status: http.StatusInternalServerError},
	{fault: Answer502, status: http.StatusBadGateway},
	{fault: Answer503, status: http.StatusServiceUnavailable},
	{fault: Answer504, status: http.StatusGatewayTimeout},
	{fault: Answer521, status: 521},
	{fault: Answer522, status: 522},
	{fault: Answer523, status: 523},
	{fault: Answer525, status: 525},
	{fault: Answer526, status: 526},

	{fault: Answer500Written, status: http.StatusInternalServerError, written: true, create: true},
	{fault: Answer502Written, status: http.StatusBadGateway, written: true, create: true},
	{fault: Answer504Written, status: http.StatusGatewayTimeout, written: true, create: true},
	{fault: Answer524Written, status: 524, written: true, create: true},

	{fault: HTMLBody},
	{fault: EmptyBody},
	{fault: TruncatedBody},
	{fault: LargeBody},

	{fault: BreakBefore},
	{fault: BreakAfter},
	{fault: SlowAnswer},
	{fault: LateWork, create: true},
}

// All lists the faults that can happen to a create, but for None.
func All() []Fault { return list(false) }

// AllReads lists those that can happen to a read.
func AllReads() []Fault { return list(true) }

func list(read bool) []Fault {
	var all []Fault
	for _, e := range effects {
		if e.fits(read) {
			all = append(all, e.fault)
		}
	}
	return all
}

// fits: a create, or a read, can meet the fault.
func (e effect) fits(read bool) bool { return read && !e.create || !read && !e.read }

// find returns the effect of a fault for a create or a read call.
func find(f Fault, read bool) (effect, error) {
	if f == None {
		return effect{fault: None}, nil
	}
	for _, e := range effects {
		if e.fault == f {
			if !e.fits(read) {
				return effect{}, fmt.Errorf("fault %q: a call of this kind can't meet it", f)
			}
			return e, nil
		}
	}
	return effect{}, fmt.Errorf("fault %q: there is none of this name", f)
}
