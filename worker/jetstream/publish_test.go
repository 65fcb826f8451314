package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

func openPublisher(t testing.TB, e *env, cfg PublisherConfig) *Publisher {
	t.Helper()
	p, err := OpenPublisher(t.Context(), e.nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.resendPause = time.Millisecond
	return p
}

func numbered(i int, id string) Message {
	return Message{Subject: "crm.create.contacts", ID: id, Data: fmt.Append(nil, i), Line: i}
}

func TestPublishCounts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.forgetAfter(t, time.Minute) // longer than the test takes
	p := openPublisher(t, e, PublisherConfig{Window: 3})
	for i := 1; i <= 10; i++ {
		id := ""
		if i%2 == 0 {
			id = "same"
		}
		m := numbered(i, id)
		if id != "" {
			m.Data = []byte("same")
		}
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if n := p.Unconfirmed(); n > 3 {
			t.Errorf("%d unconfirmed in a window of 3", n)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Progress{Confirmed: 10, Duplicates: 4, Line: 10}, p.Progress()); diff != "" {
		t.Error(diff)
	}
	settled(t, s, 6, 0)
}

// A message that was sent twice, since its connection seemed lost, is answered twice. The second answer calls it a
// duplicate: of itself.
func TestPublishAnsweredTwice(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	if err := p.Publish(t.Context(), numbered(1, "id")); err != nil {
		t.Fatal(err)
	}
	if err := e.nc.PublishMsg(p.waiting[0].m); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(patience); len(p.replies) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d answers", len(p.replies))
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Progress{Confirmed: 1, Line: 1}, p.Progress()); diff != "" {
		t.Error(diff)
	}
	settled(t, s, 1, 0)
}

func TestPublishTooLarge(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	fits := int(e.nc.MaxPayload()) - len("NATS/1.0\r\nNats-Msg-Id: id\r\n\r\n")
	for _, c := range []struct {
		bytes int
		want  error
	}{{fits, nil}, {fits + 1, ErrTooLarge}} {
		m := Message{Subject: "crm.create.contacts", ID: "id", Data: make([]byte, c.bytes)}
		if err := p.Publish(t.Context(), m); !errors.Is(err, c.want) {
			t.Errorf("%d bytes: %v", c.bytes, err)
		}
	}
	if err := p.Publish(t.Context(), numbered(1, "")); err != nil {
		t.Errorf("after one that is too large: %v", err)
	}
	if err := p.Flush(t.Context()); err != nil || p.Progress().Confirmed != 2 {
		t.Errorf("%v, %+v", err, p.Progress())
	}
}

func TestPublishLarge(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{})
	for range 40 { // more than windowBytes
		if err := p.Publish(t.Context(), Message{Subject: "crm.create.contacts",
			Data: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
		if p.bytes > windowBytes {
			t.Fatalf("%d bytes in the window", p.bytes)
		}
	}
	if err := p.Flush(t.Context()); err != nil || p.bytes != 0 {
		t.Errorf("%v, %d bytes", err, p.bytes)
	}
	settled(t, s, 40, 0)
}

// refusal is the error with which a message of line 7 comes to nothing.
func refusal(t *testing.T, p *Publisher) error {
	t.Helper()
	if err := p.Publish(t.Context(), numbered(7, "x")); err != nil {
		t.Fatal(err)
	}
	err := p.Flush(t.Context())
	if err == nil {
		t.Fatal("published to nobody")
	}
	return err
}

func TestPublishWithoutStream(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, err := OpenPublisher(t.Context(), e.nc, PublisherConfig{}); err == nil ||
		!strings.Contains(err.Error(), "'crmintake init'") {
		t.Errorf("no stream: %v", err)
	}
	e.init(t, InitConfig{})
	if _, err := OpenPublisher(t.Context(), e.nc, PublisherConfig{Subject: "other"}); err == nil ||
		!strings.Contains(err.Error(), "does not take other") {
		t.Errorf("other subject: %v", err)
	}
	p := openPublisher(t, e, PublisherConfig{})
	if err := e.js.DeleteStream(t.Context(), "CRM_EVENTS"); err != nil {
		t.Fatal(err)
	}
	err := refusal(t, p)
	contains(t, err.Error(), `line 7 (id "x"): no stream takes crm.create.contacts`, "'crmintake init'")
	if again := p.Publish(t.Context(), numbered(8, "y")); !errors.Is(again, err) {
		t.Errorf("the error is not final: %v", again)
	}
}

// A full stream refuses; what came before is confirmed.
func TestPublishRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, err := e.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"}, MaxMsgs: 3, Discard: jetstream.DiscardNew,
	}); err != nil {
		t.Fatal(err)
	}
	p := openPublisher(t, e, PublisherConfig{})
	var err error
	for i := 1; i <= 5 && err == nil; i++ {
		err = p.Publish(t.Context(), numbered(i, ""))
	}
	if err == nil {
		err = p.Flush(t.Context())
	}
	if err == nil {
		t.Fatal("a full stream takes more")
	}
	contains(t, err.Error(), "line 4: the stream CRM_EVENTS refuses it", "maximum messages exceeded")
	if diff := cmp.Diff(Progress{Confirmed: 3, Line: 3}, p.Progress()); diff != "" {
		t.Error(diff)
	}
}

func TestPublishContext(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	p := openPublisher(t, e, PublisherConfig{Window: 1})
	sub := silent(t, e)
	if err := p.Publish(t.Context(), numbered(1, "a")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range map[string]error{"publish": p.Publish(ctx, numbered(2, "b")), "flush": p.Flush(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := p.Unconfirmed(); n != 1 {
		t.Errorf("%d unconfirmed", n)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	// A stream again, and the message has its confirmation by being sent again, for which the connection's loss is a
	// reason.
	if _, err := Init(t.Context(), e.nc, InitConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := e.server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil || p.Progress().Confirmed != 1 {
		t.Errorf("%v, %+v", err, p.Progress())
	}
	if err := p.Publish(t.Context(), numbered(3, "c")); err != nil {
		t.Fatal(err)
	}
	e.nc.Close()
	if p.Flush(t.Context()) == nil && p.Progress().Confirmed < 2 {
		t.Error("a closed connection gives no error")
	}
}
