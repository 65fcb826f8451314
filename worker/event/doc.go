// Package event has what a message's event is: its id, its object type, the hash of its content, and the input of a
// batch create call that is made of it. All of it works on bytes, and may be called by many goroutines at once.
//
//	id.go            ids and object types, of headers, subjects and places
//	content.go       what is sent of an event, and what it is known by
//	cloudevent.go    the envelope of CloudEvents in structured mode
//	decode.go        the body's decoder; what can go out as it came is never copied
//	decode_plain.go  its short way, of the usual event
//	associations.go  an event's associations
//	reader.go        JSON token by token, and faults in words for people
package event
