package event

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"

	"crmintake/worker"
)

// Content is what is sent of an event, and what the event is known by.
type Content struct {
	Input worker.Input
	Hash  [16]byte // of its content
	// Former is the id and the hash under which an older program kept the event; nil if these are the same.
	Former *Former
}

// Former is an event as an older program kept it.
type Former struct {
	ID   string
	Hash [16]byte
}

// Read makes what is sent of an event. Of a CloudEvent in structured mode, its id and its data become the event's. If
// the event can't be sent, e.Invalid says why afterwards. A message is a CloudEvent in structured mode by its content
// type or, without, by a member specversion, which no plain event has: so a good plain event is looked at no further.
func Read(e *worker.Event, idProperty string) (c Content) {
	var plain error
	if e.Invalid == "" && !e.Structured {
		if c.Input, plain = Decode(e.Payload, idProperty, e.ID); plain == nil {
			c.identify(e)
			return c
		}
	}
	envelope, found := openCloudEvent(e.Payload)
	if !found && !e.Structured {
		c.identify(e)
		if plain != nil {
			e.Invalid = plain.Error()
		}
		return c
	}
	c.unwrap(e, &envelope)
	if e.Invalid != "" {
		return c
	}
	var err error
	if c.Input, err = Decode(e.Payload, idProperty, e.ID); err != nil {
		e.Invalid = err.Error()
	}
	return c
}

// identify notes by which content the event is known, and as what an older program kept it, if that differs.
func (c *Content) identify(e *worker.Event) {
	c.Hash = Hash(e.Subject, e.Payload)
	if e.Former != "" {
		c.Former = &Former{ID: e.Former, Hash: c.Hash}
	}
}

// unwrap makes of a CloudEvent's message the event of its data. One that can't be sent keeps the whole of it, and is
// known by its data all the same, as far as there is any.
func (c *Content) unwrap(e *worker.Event, envelope *cloudEvent) {
	if e.Former != "" { // older programs knew no envelope
		c.Former = &Former{ID: e.Former, Hash: Hash(e.Subject, e.Payload)}
	}
	fault := envelope.fault
	if e.ID == e.Place().String() { // no header tells another
		id := JoinID(envelope.source, envelope.id)
		invalid := CheckID(id, "source and id")
		switch {
		case envelope.source == "":
			fault = cmp.Or(fault, "source is missing, and so the CloudEvent has no id")
		case envelope.id == "":
			fault = cmp.Or(fault, "id is missing")
		case invalid != "":
			fault = cmp.Or(fault, invalid)
		default:
			e.ID = id
		}
	}
	content := envelope.data
	if content == nil {
		content = e.Payload
	}
	c.Hash = Hash(e.Subject, content)
	if fault == "" {
		e.Payload = bytes.Clone(envelope.data) // lets go of the rest
	}
	e.Invalid = cmp.Or(e.Invalid, fault)
}

// Hash is equal for equal contents: two messages with the same event id are the same event if their hashes are equal.
//
// It is the first 16 bytes of SHA-256 over the subject, preceded by its length, and the payload; the length keeps bytes
// from moving between the two unseen. 16 bytes stay in every row for as long as the row does, so half of the hash is
// half of the cost. It is enough: only hashes under one event id are ever compared, so there is no birthday to fear by
// chance, and somebody who wants two contents of one hash needs 2^64 trials, for the gain that the second of their own
// two events is taken for the first.
func Hash(subject string, payload []byte) [16]byte {
	var buf [512]byte // on the stack, for any usual subject
	head := binary.BigEndian.AppendUint64(buf[:0], uint64(len(subject)))
	head = append(head, subject...)
	h := sha256.New()
	h.Write(head)
	h.Write(payload)
	return [16]byte(h.Sum(buf[:0]))
}
