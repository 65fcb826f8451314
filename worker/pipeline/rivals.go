package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

// A record is one event's only. Events that put the same value into their id property, all of them in doubt, ask for
// the same record: it is the one's whose properties it holds, and nobody's if that does not tell. An id property that
// holds the event's id has no rivals.

// rival is an event that may have made the record which a row is asked about by, or may be making it.
type rival struct {
	id, value string
	sent      map[string]string
	inDoubt   bool
	calling   bool // what comes of its call is not known yet
}

// propertyOf is the id property that tells of the rows of a batch, also of those that are asked about by record ids; ""
// for none.
func (d *doubts) propertyOf(b *attempt) string {
	if b.IDProperty == outbox.ByRecordID {
		return d.cfg.IDProperty[b.ObjectType]
	}
	return b.IDProperty
}

// unique is the value of a row's id property.
func (b *attempt) unique(r *row) string {
	if b.IDProperty == outbox.ByRecordID {
		return r.input.IDValue
	}
	return r.value
}

// rivalsOf lists the rivals of a batch, its own rows among them; none, at no cost, if no row has a value that others
// may have. What was found tells of those, too, that are asked about by its record id.
func (d *doubts) rivalsOf(ctx context.Context, b *attempt, found map[string]worker.Found) (list []*rival, err error) {
	property := d.propertyOf(b)
	if property == "" {
		return nil, nil
	}
	if err := d.contest(ctx, b); err != nil {
		return nil, err
	}
	var asked []outbox.Asked
	values := map[string]bool{}
	for k := range b.rows {
		if r := &b.rows[k]; r.explicit() {
			a := outbox.Asked{EventID: r.id, Value: b.unique(r), RecordID: found[r.value].RecordID}
			if b.IDProperty == outbox.ByRecordID {
				a.RecordID = r.value
			}
			asked = append(asked, a)
			values[a.Value] = true
			list = append(list, &rival{id: r.id, value: a.Value, sent: sentProperties(&r.input), inDoubt: r.inDoubt})
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	var others []outbox.Rival
	if err := d.retry.write(ctx, ctx, func(ctx context.Context) (err error) {
		others, err = d.store.Records.Rivals(ctx, b.ObjectType, property, asked)
		return err
	}); err != nil {
		return nil, err
	}
	for _, o := range others {
		input, err := event.Decode(o.Payload, property, o.EventID)
		if err != nil || !values[input.IDValue] {
			continue // its bytes hold the value somewhere else
		}
		list = append(list, &rival{id: o.EventID, value: input.IDValue, sent: sentProperties(&input), inDoubt: true,
			calling: o.Calling})
	}
	return list, nil
}

// contest finds the rows of a batch whose event id another event in doubt has for value.
func (d *doubts) contest(ctx context.Context, b *attempt) error {
	var ids []string
	for k := range b.rows {
		if r := &b.rows[k]; b.unique(r) == r.id {
			ids = append(ids, r.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var contested map[string]bool
	err := d.retry.write(ctx, ctx, func(ctx context.Context) (err error) {
		contested, err = d.store.Records.Contested(ctx, b.ObjectType, ids)
		return err
	})
	for k := range b.rows {
		b.rows[k].contested = contested[b.rows[k].id]
	}
	return err
}

// newRivals adds to the rivals of a batch those that have come while it was asked about. What they sent was not asked
// for: that they are there is to be known, and then it is asked again.
func (d *doubts) newRivals(ctx context.Context, b *attempt, found map[string]worker.Found, rivals []*rival) (
	[]*rival, error) {
	if len(rivals) == 0 || len(found) == 0 {
		return rivals, nil
	}
	known := map[string]bool{}
	for _, r := range rivals {
		known[r.id] = true
	}
	now, err := d.rivalsOf(ctx, b, found)
	for _, r := range now {
		if r.calling || !known[r.id] {
			r.calling = true
			rivals = append(rivals, r)
		}
	}
	return rivals, err
}

// sentProperties are the properties of an input, as they were sent.
func sentProperties(in *worker.Input) map[string]string {
	var body struct{ Properties map[string]string }
	_ = json.Unmarshal(in.AppendMembers([]byte("{")), &body) // Decode has made sure that they are texts
	return body.Properties
}

// evidence are the properties that a read of a batch asks for, to tell whose a record is.
func (d *doubts) evidence(b *attempt, rivals []*rival) []string {
	names := map[string]bool{}
	add := func(sent map[string]string) {
		for name := range sent {
			names[name] = true
		}
	}
	for _, r := range rivals {
		add(r.sent)
	}
	if b.IDProperty == outbox.ByRecordID {
		if property := d.cfg.IDProperty[b.ObjectType]; property != "" {
			names[property] = true
		} else {
			for k := range b.rows {
				add(sentProperties(&b.rows[k].input))
			}
		}
	}
	delete(names, b.IDProperty)
	return slices.Sorted(maps.Keys(names))
}

// owner is the one of several events whose properties a record holds: all that it sent, and more of them than any
// other's. nil if that does not tell.
func owner(events []*rival, held map[string]string, idProperty string) *rival {
	var best *rival
	most := 0
	for _, e := range events {
		switch same, other, absent := agreement(e.sent, held, idProperty); {
		case other > 0 || absent > 0 || same < most || same == 0:
		case same == most:
			best = nil
		default:
			best, most = e, same
		}
	}
	return best
}

// whose judges a record that was found for a row.
func (d *doubts) whose(b *attempt, r *row, f *worker.Found, rivals []*rival, call *worker.Call) outbox.Settlement {
	j, idProperty, value := d.judge, d.propertyOf(b), b.unique(r)
	if b.IDProperty == outbox.ByRecordID && (idProperty == "" || !alike(value, f.Properties[idProperty])) {
		return d.whoseExisting(r, f, idProperty, call)
	}
	if !r.explicit() {
		return j.created(r, *f, nil) // nobody else has the event's id
	}
	var same []*rival
	var mine *rival
	for _, other := range rivals {
		switch {
		case other.value != value:
		case other.calling && r.age < j.retry.Age:
			return j.asked(r, fmt.Sprintf("event %q has the same unique value and is being sent; asking again when that is known", other.id))
		case other.calling && r.inDoubt:
			return j.parked(r, fmt.Sprintf("record %s has the same unique value as event %q, of which nothing is known for too long", f.RecordID, other.id), nil)
		case other.id == r.id:
			mine = other
		case other.calling, other.inDoubt:
			same = append(same, other)
		}
	}
	switch {
	case len(same) == 0:
	case !r.inDoubt: // it has made no record, and adopts none that may be another event's
		return j.conflict(r, fmt.Sprintf("record %s has the same unique value, and may be that of event %q", f.RecordID,
			same[0].id))
	default:
		same = append(same, mine)
		switch o := owner(same, f.Properties, idProperty); {
		case o == nil:
			return j.parked(r, fmt.Sprintf("record %s has the unique value of %d events, and what it holds does not tell whose it is", f.RecordID, len(same)), nil)
		case o != mine:
			return j.conflict(r, fmt.Sprintf("record %s has the same unique value, and holds what event %q sent",
				f.RecordID, o.id))
		}
		return j.created(r, *f, nil)
	}
	alike, other, absent := agreement(mine.sent, f.Properties, idProperty)
	switch age := ageOf(r, f, call); {
	case age == younger, j.onConflict == Adopt:
	case age == older:
		return j.conflict(r, fmt.Sprintf("record %s has the same unique value, and is older than this event",
			f.RecordID))
	case alike == 0 || other > 0 || absent > 0:
		return j.parked(r, fmt.Sprintf("record %s has the same unique value, seems to be older than this event by clocks that may differ, "+
			"and does not hold all that was sent", f.RecordID), nil)
	}
	if other > 0 && r.untold == 0 {
		// Perhaps of an event whose call was lost with its worker, and that has not told its value yet; else the CRM
		// has rewritten what was sent.
		s := j.asked(r, fmt.Sprintf("record %s has the same unique value, but not all that was sent; asking once more",
			f.RecordID))
		s.Untold = true
		return s
	}
	return j.created(r, *f, nil)
}

// whoseExisting judges the record that was named as having a unique value of a row, other than that of its id property.
// Without one, a row in doubt may have made it itself.
func (d *doubts) whoseExisting(r *row, f *worker.Found, idProperty string, call *worker.Call) outbox.Settlement {
	j := d.judge
	own, known := false, true
	if r.inDoubt && idProperty == "" {
		same, other, absent := agreement(sentProperties(&r.input), f.Properties, "")
		age := ageOf(r, f, call)
		own = age == younger && same > 0 && other == 0 && absent == 0
		known = own || age == older
	}
	switch {
	case own, j.onConflict == Adopt:
		return j.created(r, *f, nil)
	case !known:
		return j.parked(r, fmt.Sprintf("record %s has a unique value of this event, which may have made it: what it holds does not tell", f.RecordID), nil)
	}
	return j.conflict(r, fmt.Sprintf("record %s has a unique value of this event, and is not its own", f.RecordID))
}

// leaveClaimed leaves records to the events that have them already.
func (d *doubts) leaveClaimed(ctx context.Context, b *attempt, a *worker.ReadAnswer,
	settlements []outbox.Settlement) error {
	var claims []outbox.Claim
	for k := range b.rows {
		if settlements[k].Status == outbox.Created {
			claims = append(claims, d.claimOf(b, &b.rows[k], settlements[k].RecordID, a))
		}
	}
	if len(claims) == 0 {
		return nil
	}
	claimed, err := d.outcomes.owners(ctx, b.ObjectType, claims)
	if err != nil {
		return err
	}
	for k := range settlements {
		s := &settlements[k]
		if s.Status != outbox.Created {
			continue
		}
		if other, taken := claimed[s.RecordID]; taken && other != s.EventID {
			*s = d.judge.conflict(&b.rows[k], fmt.Sprintf("record %s is event %q's", s.RecordID, other))
			continue
		}
		claimed[s.RecordID] = s.EventID // of several in one batch, the first
	}
	return nil
}

// farApart and closeBy are how far a record's time may be from that of the call that made it, as the worker named it.
// Of what nobody else but by mistake has for value, less is looked through.
const (
	farApart = 3 * time.Minute
	closeBy  = 10 * time.Second
)

// claimOf is when the call was named that may have made a record for another event: by our clock, if the answer
// tells what time it is by the CRM's.
func (d *doubts) claimOf(b *attempt, r *row, recordID string, a *worker.ReadAnswer) outbox.Claim {
	c := outbox.Claim{RecordID: recordID}
	at := a.Found[r.value].CreatedAt
	if at.IsZero() {
		return c // at any time
	}
	if date := a.Call.Date; !date.IsZero() {
		at = at.Add(-time.Until(date))
	}
	c.From, c.To = at.Add(-farApart), at.Add(farApart)
	if !r.explicit() && b.IDProperty != outbox.ByRecordID {
		c.From, c.To = at.Add(-d.cfg.CallTimeout-closeBy), at.Add(closeBy)
	}
	return c
}

// clockSkew is by how much the time that a record was made at may be off.
const clockSkew = time.Minute

// relative is how old a record is, beside an event.
type relative uint8

const (
	younger relative = iota
	older            // for certain
	unsure           // by clocks that may be as far apart as that
)

// longAgo is how much older a record is than an event that is older whatever the clocks are: the CRM's, and the
// database's, which may have been set since the event came.
const longAgo = 30 * time.Minute

// ageOf compares when a record was made with when the event came, by the CRM's clock, if its answer tells that.
func ageOf(r *row, f *worker.Found, call *worker.Call) relative {
	received, known := r.received, !call.Date.IsZero()
	if known {
		received = received.Add(time.Until(call.Date))
	}
	switch {
	case f.CreatedAt.IsZero() || !f.CreatedAt.Before(received.Add(-clockSkew)):
		return younger
	case known && f.CreatedAt.Before(received.Add(-longAgo)):
		return older
	}
	return unsure
}
