package event

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"crmintake/worker"
)

// maxObjectTypeBytes is the longest object type that is accepted. The API's names are far shorter; the bound is for
// what is logged, kept and used as a metric's label.
const maxObjectTypeBytes = 100

// ID is the id of the event that a message carries: the header Nats-Msg-Id; else CloudEvents' ce-source and ce-id, when
// both are there, joined by JoinID; else the message's place in its stream. The header function returns "" for a header
// that is absent, and asWritten if the name of one that is there is written in these very letters.
//
// An id that can't be kept gives the message's place instead, and invalid says why: the event is then an invalid event,
// for without its own id a second delivery by the publisher would be a second record.
//
// Older programs wrote places otherwise, joined source and id by "/" as they were, and knew no header in other letters:
// former is the id that such a one gave the event, "" if it was the same.
func ID(header func(name string) (value string, asWritten bool), place worker.Place) (id, former, invalid string) {
	name := "Nats-Msg-Id"
	id, known := header(name)
	if id == "" {
		name = "ce-source/ce-id"
		source, asWritten := header("ce-source")
		ceID, alsoSo := header("ce-id")
		if source == "" || ceID == "" {
			return place.String(), place.Former(), ""
		}
		id, known = JoinID(source, ceID), asWritten && alsoSo
		if joined := source + "/" + ceID; joined != id {
			former = joined
		}
	}
	invalid = CheckID(id, name)
	if invalid != "" {
		id = place.String()
	}
	if !known || invalid != "" && (former == "" || CheckID(former, name) != "") {
		former = place.Former()
	}
	return id, former, invalid
}

// CheckID returns why an event's id, which comes from what is named, can't be kept; "" if it can.
func CheckID(id, name string) (invalid string) {
	switch {
	case isShortAndPlain(id):
		return ""
	case len(id) > worker.MaxEventIDBytes:
		return fmt.Sprintf("the event id in %s has %d bytes, more than the %d that are accepted",
			name, len(id), worker.MaxEventIDBytes)
	case !utf8.ValidString(id):
		return fmt.Sprintf("the event id in %s is not valid UTF-8", name)
	}
	if at := strings.IndexFunc(id, unicode.IsControl); at >= 0 {
		return fmt.Sprintf("the event id in %s has a control character at byte %d", name, at)
	}
	return ""
}

// isShortAndPlain is true for the usual id, of printable ASCII, with which nothing is wrong.
func isShortAndPlain(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return len(id) <= worker.MaxEventIDBytes
}

// JoinID makes one id of CloudEvents' source and id, and never the same of two different pairs: the last "/" is the one
// between them, since those of the id are written as %2F, and its % as %25.
func JoinID(source, id string) string {
	if strings.ContainsAny(id, "/%") {
		id = escapeID.Replace(id)
	}
	return source + "/" + id
}

var escapeID = strings.NewReplacer("%", "%25", "/", "%2F")

// ReusedID is the id under which an event is kept whose own id belongs to another event already. It may be longer than
// MaxEventIDBytes.
func ReusedID(id string, place worker.Place) string {
	return id + "#" + place.String()
}

// ObjectType takes the object type from a message's subject, which must be the prefix (with its final dot, as in
// "crm.create.") and one token of letters, digits, "_" and "-". For any other subject invalid says what is wrong.
func ObjectType(subject, prefix string) (objectType, invalid string) {
	token, ok := strings.CutPrefix(subject, prefix)
	switch {
	case !ok:
		return "", fmt.Sprintf("the subject %s does not begin with %s", shown(subject), shown(prefix))
	case token == "":
		return "", fmt.Sprintf("the subject %s names no object type", shown(subject))
	case len(token) > maxObjectTypeBytes:
		return "", fmt.Sprintf("the object type in the subject has %d bytes, more than the %d that are accepted",
			len(token), maxObjectTypeBytes)
	}
	for i := range len(token) {
		if !isTokenByte(token[i]) {
			return "", fmt.Sprintf("the subject %s names no object type: want one token of letters, digits, _ and - after %s",
				shown(subject), shown(prefix))
		}
	}
	return token, ""
}

// shown quotes a subject for a message, cut to a length that a person reads.
func shown(subject string) string {
	const most = 200
	if len(subject) > most {
		return strconv.Quote(subject[:most]) + "…"
	}
	return strconv.Quote(subject)
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}
