package worker

import (
	"strconv"
	"time"
)

// Place is where a message stands. It is the same for each delivery of it.
type Place struct {
	Stream    string
	Seq       uint64
	Published time.Time // when the stream took the message in, by its clock
}

// String names the place, and no other message's ever: the sequences of a stream that is made anew, or put back to an
// older state, come again, but not with the same nanosecond. The time goes first, so that names that are made one after
// the other lie beside each other in an index.
func (p Place) String() string {
	b := make([]byte, 0, len(p.Stream)+2*20+2)
	b = append(append(b, p.Stream...), '@')
	b = strconv.AppendInt(b, p.Published.UnixNano(), 10)
	b = strconv.AppendUint(append(b, ':'), p.Seq, 10)
	return string(b)
}

// Former is the name that older programs gave the place.
func (p Place) Former() string {
	return p.Stream + ":" + strconv.FormatUint(p.Seq, 10)
}
