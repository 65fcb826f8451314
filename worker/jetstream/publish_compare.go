package jetstream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// storedToken begins, behind the inbox, the subject that the stream's message comes to which is compared with one
	// of ours.
	storedToken = "look"
	// duplicatesWait bounds the duplicate window that is waited for.
	duplicatesWait = 5 * time.Second
	// maxCompares: one may be lost with the stream's leader; after another one, nobody hears us.
	maxCompares = 2
)

// askForStored asks for the message that the stream calls ours a duplicate of. Questions go out like messages, without
// waiting for each.
func (p *Publisher) askForStored(u *unconfirmed, number, seq uint64) {
	if p.cannotCompare {
		p.drop(u, p.errCannotCompare())
		return
	}
	question := fmt.Appendf(nil, `{"seq":%d}`, seq)
	reply := p.inbox + storedToken + strconv.FormatUint(number, 10)
	if err := p.nc.PublishRequest(p.getSubject(), reply, question); err != nil {
		u.due = time.Now().Add(p.resendPause) // the connection is about to be lost
		return
	}
	u.compared++
	u.comparing, u.err, u.due = true, nil, time.Now().Add(p.confirmWait)
}

// getSubject is that of the stream's leader: a follower may not have the message yet.
func (p *Publisher) getSubject() string {
	return cmp.Or(p.js.Options().APIPrefix, jetstream.DefaultAPIPrefix) + "STREAM.MSG.GET." + p.stream
}

// compare takes the answer to askForStored. What the stream has not any more was taken by a worker: a message that the
// stream takes after its window is compared by the outbox.
func (p *Publisher) compare(u *unconfirmed, m *nats.Msg) {
	if !u.comparing { // it was sent again since
		return
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string `json:"subject"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	err := json.Unmarshal(m.Data, &answer)
	u.comparing = false
	switch {
	case err == nil && answer.Message != nil:
		if answer.Message.Subject == u.m.Subject && bytes.Equal(answer.Message.Data, u.m.Data) {
			u.confirmed, u.duplicate = true, true
			return
		}
		p.drop(u, fmt.Errorf("the stream %s has another event under this id, of %s, and dropped this one; "+
			"give it an id of its own, such as one that begins with its object type", p.stream, answer.Message.Subject))
	case answer.Error == nil || answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound:
		u.err, u.due = errors.New("the stream does not show what it has under this id"), time.Now().Add(p.resendPause)
	case p.duplicates <= duplicatesWait:
		u.err, u.due = errOriginalTaken, time.Now().Add(max(p.duplicates, p.resendPause))
	default:
		p.drop(u, fmt.Errorf("%w; whether that was the same event is not known; publish it again when %v are over, "+
			"and the outbox compares them. A shorter window is better: type 'nats stream edit %s "+
			"--dupe-window=%v'", errOriginalTaken, p.duplicates, p.stream, DuplicateWindow))
	}
}

var errOriginalTaken = errors.New("the stream dropped it, since it had an event under this id within its duplicate " +
	"window, which was taken meanwhile")

func (p *Publisher) errCannotCompare() error {
	return fmt.Errorf("the stream %s has or had an event under this id and dropped this one; "+
		"whether it is the same can't be seen: let this user publish to %s", p.stream, p.getSubject())
}

// drop settles a message that is not known to be in the stream.
func (p *Publisher) drop(u *unconfirmed, why error) {
	u.confirmed, u.dropped = true, why
}
