package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxObjectTypeBytes is the longest object type that is accepted. The API's names are far shorter; the bound is for what
// is logged, kept and used as a metric's label.
const maxObjectTypeBytes = 100

// EventID says which event a message carries: the header Nats-Msg-Id; else CloudEvents' ce-source and ce-id, when both
// are there, joined by "/"; else the message's place in its stream. The header function returns "" for a header that is
// absent.
//
// An id that can't be kept gives the message's place instead, and invalid says why: the event is then an invalid event,
// for without its own id a second delivery by the publisher would be a second record.
func EventID(header func(string) string, stream string, seq uint64) (id string, invalid string) {
	name := "Nats-Msg-Id"
	if id = header(name); id == "" {
		name = "ce-source/ce-id"
		source, ceID := header("ce-source"), header("ce-id")
		if source == "" || ceID == "" {
			return placeOf(stream, seq), ""
		}
		id = source + "/" + ceID
	}
	switch {
	case isShortAndPlain(id):
		return id, ""
	case len(id) > MaxEventIDBytes:
		invalid = fmt.Sprintf("the event id in %s has %d bytes, more than the %d that are accepted", name, len(id), MaxEventIDBytes)
	case !utf8.ValidString(id):
		invalid = fmt.Sprintf("the event id in %s is not valid UTF-8", name)
	default:
		at := strings.IndexFunc(id, unicode.IsControl)
		if at < 0 {
			return id, ""
		}
		invalid = fmt.Sprintf("the event id in %s has a control character at byte %d", name, at)
	}
	return placeOf(stream, seq), invalid
}

// isShortAndPlain tells of the usual id that nothing is wrong with it, at a look.
func isShortAndPlain(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return len(id) <= MaxEventIDBytes
}

// ReusedID is the id under which an event is kept whose own id belongs to another event already. It may be longer than
// MaxEventIDBytes.
func ReusedID(id, stream string, seq uint64) string {
	return id + "#" + placeOf(stream, seq)
}

// placeOf names a message by its place in its stream.
func placeOf(stream string, seq uint64) string {
	return stream + ":" + strconv.FormatUint(seq, 10)
}

// ObjectTypeOf takes the object type from a message's subject, which must be the prefix (with its final dot, as in
// "crm.create.") and one token of letters, digits, "_" and "-". For any other subject invalid says what is wrong.
func ObjectTypeOf(subject, prefix string) (objectType, invalid string) {
	token, ok := strings.CutPrefix(subject, prefix)
	switch {
	case !ok:
		return "", fmt.Sprintf("the subject %s does not begin with %s", shown(subject), shown(prefix))
	case token == "":
		return "", fmt.Sprintf("the subject %s names no object type", shown(subject))
	case len(token) > maxObjectTypeBytes:
		return "", fmt.Sprintf("the object type in the subject has %d bytes, more than the %d that are accepted", len(token), maxObjectTypeBytes)
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

// ContentHash tells contents apart: two messages with the same event id are the same event if their hashes are equal.
//
// It is the first 16 bytes of SHA-256 over the subject, preceded by its length, and the payload; the length keeps bytes
// from moving between the two unseen. 16 bytes stay in every row for as long as the row does, so half of the hash is
// half of the cost. It is enough: only hashes under one event id are ever compared, so there is no birthday to fear by
// chance, and somebody who wants two contents of one hash needs 2^64 trials, for the gain that the second of their own
// two events is taken for the first.
func ContentHash(subject string, payload []byte) [16]byte {
	var buf [512]byte // on the stack, for any usual subject
	head := binary.BigEndian.AppendUint64(buf[:0], uint64(len(subject)))
	head = append(head, subject...)
	h := sha256.New()
	h.Write(head)
	h.Write(payload)
	return [16]byte(h.Sum(buf[:0]))
}
