package jetstream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asked answers the publisher's questions for the stream as a cluster does that elects its leader, or just has.
type asked struct {
	jetstream.JetStream
	answer func() (jetstream.Stream, error)
}

func (a asked) Stream(context.Context, string) (jetstream.Stream, error) { return a.answer() }

// A stream that is there, though nobody hears what is published, is waited for: it has no leader.
func TestPublishWithoutLeader(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	questions := 0
	p.js = asked{e.js, func() (jetstream.Stream, error) {
		switch questions++; questions {
		case 1:
			return nil, context.DeadlineExceeded
		case 2:
			return nil, &jetstream.APIError{Code: 503, ErrorCode: 10008,
				Description: "JetStream system temporarily unavailable"}
		case 3:
			return stream, nil
		case 4:
			_, err := Init(t.Context(), e.nc, InitConfig{})
			return stream, err
		}
		return nil, jetstream.ErrStreamNotFound
	}}
	const total = 20
	for i := 1; i <= total; i++ {
		id := ""
		if i%2 == 0 {
			id = fmt.Sprint("e", i)
		}
		if err := p.Publish(t.Context(), numbered(i, id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Progress{Confirmed: total, Line: total}, p.Progress()); diff != "" || questions != 4 {
		t.Errorf("%d questions\n%s", questions, diff)
	}
	settled(t, s, total, 0)
}

// A stream whose leader does not come is not waited for without an end.
func TestPublishWithoutLeaderForLong(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	asks := 0
	p.js = asked{e.js, func() (jetstream.Stream, error) { asks++; return nil, context.DeadlineExceeded }}
	err := refusal(t, p)
	if asks != maxQuestions+1 {
		t.Errorf("%d questions", asks)
	}
	contains(t, err.Error(), `line 7 (id "x"): nobody takes it, though the stream CRM_EVENTS is there, or may be`)
}

// A stream that does not take the subject any more won't, however long we wait.
func TestPublishWithoutSubject(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil { // it filters by the subject
		t.Fatal(err)
	}
	if _, err := e.js.UpdateStream(t.Context(), jetstream.StreamConfig{
		Name: "CRM_EVENTS", Subjects: []string{"crm.update.>"}, Retention: jetstream.WorkQueuePolicy,
	}); err != nil {
		t.Fatal(err)
	}
	err := refusal(t, p)
	contains(t, err.Error(),
		`line 7 (id "x"): the stream CRM_EVENTS does not take crm.create.contacts any more: `+
			`its subjects are ["crm.update.>"]`)
}

// A confirmation that does not come is asked for again, as often as is reasonable while the connection stands.
func TestPublishUnconfirmed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	p.confirmWait = time.Millisecond
	sub := silent(t, e)
	if err := p.Publish(t.Context(), numbered(3, "c")); err != nil {
		t.Fatal(err)
	}
	err := p.Flush(t.Context())
	if err == nil {
		t.Fatal("confirmed by nobody")
	}
	contains(t, err.Error(), `line 3 (id "c"): it was sent 11 times and not confirmed`)
	if err := e.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sub.Pending(); err != nil || n != maxResends+1 {
		t.Errorf("sent %d times, %v", n, err)
	}
}

// Over restarts of the server, messages with ids are all there, and each once.
func TestPublishOverRestart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.forgetAfter(t, 2*time.Minute) // longer than a restart takes
	p := openPublisher(t, e, PublisherConfig{Window: 100})
	const total = 5000
	restarted := make(chan error, 1)
	for i := 1; i <= total; i++ {
		if i == 1000 {
			go func() { restarted <- e.server.Restart() }()
		}
		if err := p.Publish(t.Context(), numbered(i, fmt.Sprint("e", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if done := p.Progress(); done.Confirmed != total || done.Line != total {
		t.Errorf("%+v", done)
	}
	settled(t, s, total, 0)
}

// silent answers for no message: the stream is there when the publisher opens, and then only a listener is.
func silent(t *testing.T, e *env) *nats.Subscription {
	t.Helper()
	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	sub, err := e.nc.SubscribeSync("crm.create.>")
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// Without an id, a message whose confirmation is lost is not sent again: it could be stored twice.
func TestPublishWithoutIDOverRestart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	sub := silent(t, e)
	if err := p.Publish(t.Context(), numbered(5, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	if err := e.server.Restart(); err != nil {
		t.Fatal(err)
	}
	err := p.Flush(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "line 5: it was sent and not confirmed", "no id")
	if n, _, err := sub.Pending(); err != nil || n != 0 {
		t.Errorf("it was sent %d times more, %v", n, err)
	}
}
