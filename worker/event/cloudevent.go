package event

import (
	"bytes"
	"cmp"
	"crmintake/worker"
	"fmt"
	"strings"
)

// Content is what is sent of an event, and what the event is known by.
type Content struct {
	Input worker.Input
	Hash  [16]byte // of its content
	// Former is under which id and hash an older program kept the event; nil if these are the same.
	Former *Former
}

// Former is an event as an older program kept it.
type Former struct {
	ID   string
	Hash [16]byte
}

// StructuredMode tells by its content type whether a message is a CloudEvent in structured mode, in JSON. One in
// another format, and a batch, is an invalid event.
func StructuredMode(contentType string) (structured bool, invalid string) {
	const cloudEvents = "application/cloudevents"
	mediaType := mediaTypeOf(contentType)
	switch {
	case !strings.HasPrefix(mediaType, cloudEvents):
		return false, ""
	case mediaType == cloudEvents+"+json":
		return true, ""
	case strings.HasPrefix(mediaType, cloudEvents+"-batch"):
		return false, fmt.Sprintf("the content type is %s, a batch of CloudEvents; send each of them as a message of its own",
			shown(mediaType))
	default:
		return false, fmt.Sprintf("the content type is %s; send CloudEvents in JSON, as application/cloudevents+json",
			shown(mediaType))
	}
}

func mediaTypeOf(contentType string) string {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mediaType))
}

// isJSON tells whether data of this content type is JSON, as it is where nothing is said.
func isJSON(contentType string) bool {
	mediaType := mediaTypeOf(contentType)
	return mediaType == "" || strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json")
}

// Read makes what is sent of an event. Of a CloudEvent in structured mode, its id and its data become the event's; what
// is invalid says so in e.Invalid. That it is a CloudEvent in structured mode says its content type or, without, a
// member specversion, which no plain event has: so a good plain event is looked at no further.
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

// EnvelopeID is the id of a CloudEvent in structured mode, which it has where no header tells one; found tells that it
// is such.
func EnvelopeID(message []byte) (id string, found bool) {
	c, found := openCloudEvent(message)
	id = JoinID(c.source, c.id)
	return id, found && c.source != "" && c.id != "" && CheckID(id, "source and id") == ""
}

// identify notes by which content the event is known, and as what an older program kept it, if that differs.
func (c *Content) identify(e *worker.Event) {
	c.Hash = ContentHash(e.Subject, e.Payload)
	if e.Former != "" {
		c.Former = &Former{ID: e.Former, Hash: c.Hash}
	}
}

// unwrap makes of a CloudEvent's message the event of its data. One that can't be sent keeps the whole of it, and is
// known by its data all the same, as far as there is any.
func (c *Content) unwrap(e *worker.Event, envelope *cloudEvent) {
	if e.Former != "" { // older programs knew no envelope
		c.Former = &Former{ID: e.Former, Hash: ContentHash(e.Subject, e.Payload)}
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
	c.Hash = ContentHash(e.Subject, content)
	if fault == "" {
		e.Payload = bytes.Clone(envelope.data) // lets go of the rest
	}
	e.Invalid = cmp.Or(e.Invalid, fault)
}

// cloudEvent is what is needed of a CloudEvent in structured mode.
type cloudEvent struct {
	source, id string
	data       []byte // as it is written, a part of the message; with a fault, what there is of it, or of data_base64
	fault      string // why it can't be sent
}

// openCloudEvent reads the JSON format of CloudEvents 1.0. Found tells that the message has a member specversion.
func openCloudEvent(message []byte) (c cloudEvent, found bool) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.reset("", "")
	d.read(message)
	var version, contentType string
	base64 := false
	members := func() error {
		if err := d.open('{', "an object"); err != nil {
			return err
		}
		for {
			name, more, err := d.member()
			if err != nil || !more {
				return err
			}
			var attribute *string
			isData, inBase64 := false, false
			switch string(name) {
			case "specversion":
				attribute, found = &version, true
			case "datacontenttype":
				attribute = &contentType
			case "source":
				attribute = &c.source
			case "id":
				attribute = &c.id
			case "data":
				isData = true
			case "data_base64":
				isData, inBase64 = true, true
			}
			switch {
			case d.in.PeekKind() == 'n': // as good as absent, says the format
				if _, err = d.value(); err != nil {
					return err
				}
			case attribute != nil:
				text, err := d.readString()
				if err != nil {
					return err
				}
				*attribute = string(text)
			default:
				raw, err := d.in.ReadValue()
				if err != nil {
					return d.syntax(err)
				}
				if isData {
					end := d.in.InputOffset()
					c.data, base64 = message[end-int64(len(raw)):end], base64 || inBase64
				}
			}
		}
	}
	if err := members(); err != nil {
		c.fault = err.Error()
		return c, found
	}
	rest := bytes.TrimLeft(message[d.in.InputOffset():], " \t\r\n")
	switch {
	case len(rest) > 0:
		c.fault = fmt.Sprintf("something follows the CloudEvent's object (byte %d)", len(message)-len(rest))
	case !strings.HasPrefix(version, "1."):
		c.fault = fmt.Sprintf("specversion is %s; send CloudEvents 1.0", shown(version))
	case base64:
		c.fault = "data_base64: the event comes as bytes; send its object as data, in JSON"
	case !isJSON(contentType):
		c.fault = fmt.Sprintf("datacontenttype is %s, and an event is JSON; send application/json", shown(contentType))
	case c.data == nil:
		c.fault = "data is missing: the event's object"
	}
	return c, found
}
