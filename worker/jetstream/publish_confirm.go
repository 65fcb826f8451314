package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// awaitOldest waits until the oldest message is confirmed, and sends what needs it again.
func (p *Publisher) awaitOldest(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	oldest := p.waiting[0]
	for p.readReplies(); !oldest.confirmed; p.readReplies() {
		if oldest.epoch != p.epoch || !time.Now().Before(oldest.due) {
			if err := p.sendAgain(ctx); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(time.Until(oldest.due))
		select {
		case m := <-p.replies:
			p.handleReply(m)
		case <-p.changed:
			p.epoch++
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		timer.Stop()
	}
	p.questions = 0
	if oldest.dropped != nil {
		if oldest.err = oldest.dropped; p.dropped == nil {
			return p.fail(oldest)
		}
		p.done.Dropped++
		p.dropped(oldest.line, oldest.id, oldest.dropped)
	} else {
		p.done.Confirmed++
		p.first, p.last = min(cmp.Or(p.first, oldest.seq), oldest.seq), max(p.last, oldest.seq)
	}
	p.done.Line = oldest.line
	if oldest.duplicate {
		p.done.Duplicates++
	}
	p.bytes -= len(oldest.m.Data)
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	return nil
}

// readReplies takes in what has happened until now.
func (p *Publisher) readReplies() {
	for {
		select {
		case m := <-p.replies:
			p.handleReply(m)
		case <-p.changed:
			p.epoch++
		default:
			return
		}
	}
}

// handleReply notes a reply with the message that it is for.
func (p *Publisher) handleReply(m *nats.Msg) {
	token, stored := strings.CutPrefix(strings.TrimPrefix(m.Subject, p.inbox), storedToken)
	number, err := strconv.ParseUint(token, 10, 64)
	first := p.next - uint64(len(p.waiting))
	if err != nil || number < first || number >= p.next { // of a message that was confirmed long ago
		return
	}
	u := p.waiting[number-first]
	if u.confirmed { // sent twice, and answered twice: the second says only that the first has arrived
		return
	}
	if stored {
		p.compare(u, m)
		return
	}
	var answer struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		u.err = jetstream.ErrNoStreamResponse
	case json.Unmarshal(m.Data, &answer) != nil:
		u.err = jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		u.err = answer.Error
	case answer.Stream != p.stream:
		u.err = fmt.Errorf("it was taken by the stream %q", answer.Stream)
	case answer.Duplicate:
		u.seq = answer.Seq
		p.askForStored(u, number, answer.Seq)
		return
	default:
		u.confirmed, u.seq = true, answer.Seq
		return
	}
	u.due = time.Now() // at once if it is for failing; else sending again waits
	if resendable(u.err, u.id) {
		u.due = u.due.Add(p.resendPause)
	}
}
