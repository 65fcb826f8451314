package operator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox"
)

// Filter chooses dead events. What is set must all hold; the zero value chooses every dead event, which an operation
// that changes something refuses unless All is set.
type Filter struct {
	EventIDs   []string      `json:"event_ids,omitempty"`
	Groups     []string      `json:"groups,omitempty"` // fingerprints
	Reason     outbox.Reason `json:"reason,omitempty"`
	ObjectType string        `json:"object_type,omitempty"`
	Category   string        `json:"category,omitempty"` // of an error of its last call
	// Text stands in the error's words, in whichever case, or byte for byte in the event.
	Text  string    `json:"text,omitempty"`
	Since time.Time `json:"since,omitzero"` // dead since then, or later
	Until time.Time `json:"until,omitzero"` // dead before then
	All   bool      `json:"all,omitempty"`

	// AsOf leaves out what has changed since then, by the database's clock: a plan's time, so that nothing is done to an
	// event that is not as it was when a person looked. Seen, as pg_current_snapshot writes it, leaves out what was
	// under way then and was committed later: its time is that of its transaction's beginning.
	AsOf time.Time `json:"as_of,omitzero"`
	Seen string    `json:"seen,omitempty"`
}

// ErrEverything says that a filter without a criterion would take every dead event, and does not say All.
var ErrEverything = errors.New("operator: this would take every dead event")

// FilterError says what is wrong with a filter, in words for the person who made it.
type FilterError struct{ Message string }

func (e *FilterError) Error() string { return e.Message }

var reasons = []outbox.Reason{outbox.InvalidEvent, outbox.Rejected, outbox.Conflict, outbox.Exhausted,
	outbox.UnknownOutcome, outbox.IDReused}

// Validate returns a *FilterError if the filter can't be meant.
func (f Filter) Validate() error {
	texts := slices.Concat(f.EventIDs, f.Groups, []string{f.ObjectType, f.Category, f.Text})
	switch {
	case f.Reason != "" && !slices.Contains(reasons, f.Reason):
		return &FilterError{fmt.Sprintf("no event is dead for the reason %q", f.Reason)}
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return &FilterError{fmt.Sprintf("nothing is since %s and before %s", f.Since.Format(time.RFC3339),
			f.Until.Format(time.RFC3339))}
	case slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) || strings.Contains(s, "\x00") }):
		return &FilterError{"a filter's texts must be UTF-8 without NUL"}
	case f.All && !f.everything():
		return &FilterError{"all events and a filter were asked for: leave one out"}
	}
	return nil
}

// everything tells whether no criterion is set.
func (f Filter) everything() bool {
	return len(f.EventIDs) == 0 && len(f.Groups) == 0 && f.Reason == "" && f.ObjectType == "" && f.Category == "" &&
		f.Text == "" &&
		f.Since.IsZero() && f.Until.IsZero()
}

// destructive is Validate for operations that change something.
func (f Filter) destructive() error {
	if err := f.Validate(); err != nil {
		return err
	}
	if f.everything() && !f.All {
		return ErrEverything
	}
	return nil
}

// where is the condition for a row of outbox AS o, with its values in args, under names that begin with "filter_".
// Whoever changes rows by it locks them in the order of event ids, so that two persons can't deadlock, and Postgres
// then tests the condition again on rows that changed meanwhile.
func (f Filter) where(args pgx.NamedArgs) string {
	return f.and(args, "o.dead_at IS NOT NULL")
}

// and adds the filter's conditions to others. It is the one place that makes a filter's SQL.
func (f Filter) and(args pgx.NamedArgs, b ...string) string {
	add := func(name string, value any, condition string) {
		args["filter_"+name] = value
		b = append(b, strings.ReplaceAll(condition, "@", "@filter_"))
	}
	if len(f.EventIDs) > 0 {
		add("ids", f.EventIDs, "o.event_id = ANY(@ids::text[])")
	}
	if len(f.Groups) > 0 {
		add("groups", f.Groups, "o.fingerprint = ANY(@groups::text[])")
	}
	if f.Reason != "" {
		add("reason", string(f.Reason), "o.reason = @reason")
	}
	if f.ObjectType != "" {
		add("object_type", f.ObjectType, "o.object_type = @object_type")
	}
	if f.Category != "" {
		add("category", f.Category, `EXISTS (SELECT FROM outbox_error e WHERE e.event_id = o.event_id
    AND e.attempt_id IS NOT DISTINCT FROM o.attempt_id AND e.category = @category)`)
	}
	if f.Text != "" {
		add("text", f.Text, "(strpos(lower(o.error), lower(@text)) > 0 OR position(convert_to(@text, 'UTF8') in "+
			"o.payload) > 0)")
	}
	if !f.Since.IsZero() {
		add("since", f.Since, "o.dead_at >= @since")
	}
	if !f.Until.IsZero() {
		add("until", f.Until, "o.dead_at < @until")
	}
	if !f.AsOf.IsZero() {
		add("as_of", f.AsOf, "o.updated_at <= @as_of")
	}
	if f.Seen != "" && !f.AsOf.IsZero() {
		add("seen", f.Seen, seen)
	}
	return strings.Join(b, "\n  AND ")
}

// seen tells whether the transaction that wrote a row is in a snapshot. Its number has 32 bits, as those of two billion
// transactions around the snapshot have: what is older by a day than the plan can't have been under way, and is not
// compared.
const seen = `(o.updated_at < @as_of - interval '1 day' OR pg_visible_in_snapshot(greatest(0,
    pg_snapshot_xmax(@seen::pg_snapshot)::text::bigint - 2147483648
    + (o.xmin::text::bigint - pg_snapshot_xmax(@seen::pg_snapshot)::text::bigint % 4294967296 + 6442450944) % 4294967296)::text::xid8,
    @seen::pg_snapshot))`
