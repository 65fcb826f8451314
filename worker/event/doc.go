// Package event says what a message's event is: its id, its object type, the hash of its content, and the input of a
// batch create call that is made of it. All of it works on bytes, and may be called by many goroutines at once.
//
// id.go has the ids, cloudevent.go the two modes of CloudEvents, decode*.go the body's decoder, which never copies what
// can go out as it came: decode_plain.go is the short way of the usual event, and decode.go the long one of all others.
package event
