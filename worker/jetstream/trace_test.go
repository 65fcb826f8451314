package jetstream

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// Which span a message was published in is read only for somebody who traces.
func TestPublisher(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	m := nats.NewMsg("crm.create.contacts")
	m.Header.Set("traceparent", parent)
	m.Header.Set("Tracestate", "a=b") // names of NATS headers know cases, and publishers write either
	for _, traces := range []bool{false, true} {
		s.view.cfg.Traces = traces
		e.publish(t, m)
		got := fetch(t, s, 1)[0]
		want := [2]string{}
		if traces {
			want = [2]string{parent, "a=b"}
		}
		if headers := [2]string{got.TraceParent, got.TraceState}; headers != want {
			t.Errorf("with traces %v: published in %q, want %q", traces, headers, want)
		}
		if got.Published.IsZero() || got.Redelivered {
			t.Errorf("published at %v, redelivered: %v", got.Published, got.Redelivered)
		}
		if err := got.Message.Nak(0); err != nil {
			t.Fatal(err)
		}
		again := fetch(t, s, 1)[0]
		if !again.Redelivered || !again.Published.Equal(got.Published) {
			t.Errorf("delivered again: %v, published at %v, want %v", again.Redelivered, again.Published, got.Published)
		}
		if err := again.Message.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}
