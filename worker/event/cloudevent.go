package event

import (
	"bytes"
	"fmt"
	"strings"
)

// StructuredMode: by its content type the message is a CloudEvent in structured mode, in JSON. One in
// another format, and a batch, is an invalid event, and invalid says why.
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

// isJSON: data of this content type is JSON, as it is where nothing is said.
func isJSON(contentType string) bool {
	mediaType := mediaTypeOf(contentType)
	return mediaType == "" || strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json")
}

// EnvelopeID is the id that a CloudEvent in structured mode has where no header gives one. Found is false for any other
// message, and for one whose source and id make no id that can be kept.
func EnvelopeID(message []byte) (id string, found bool) {
	c, found := openCloudEvent(message)
	id = JoinID(c.source, c.id)
	return id, found && c.source != "" && c.id != "" && CheckID(id, "source and id") == ""
}

// cloudEvent is what is needed of a CloudEvent in structured mode.
type cloudEvent struct {
	source, id string
	data       []byte // as it is written, a part of the message; with a fault, what there is of it, or of data_base64
	fault      string // why it can't be sent
}

// openCloudEvent reads the JSON format of CloudEvents 1.0 (the specification's json-format.md). Found: the message has
// a member specversion.
func openCloudEvent(message []byte) (c cloudEvent, found bool) {
	d := decoders.Get().(*decoder)
	defer d.release()
	in := &d.in
	in.read(message)
	var version, contentType string
	base64 := false
	members := func() error {
		if err := in.open('{', "an object"); err != nil {
			return err
		}
		for {
			name, more, err := in.member()
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
			case in.json.PeekKind() == 'n': // as good as absent, says the format
				if _, err = in.value(); err != nil {
					return err
				}
			case attribute != nil:
				text, err := in.readString()
				if err != nil {
					return err
				}
				*attribute = string(text)
			default:
				raw, err := in.json.ReadValue()
				if err != nil {
					return in.syntax(err)
				}
				if isData {
					end := in.json.InputOffset()
					c.data, base64 = message[end-int64(len(raw)):end], base64 || inBase64
				}
			}
		}
	}
	if err := members(); err != nil {
		c.fault = err.Error()
		return c, found
	}
	rest := bytes.TrimLeft(message[in.json.InputOffset():], " \t\r\n")
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
