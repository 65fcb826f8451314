package proxy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local"
)

func through(t *testing.T, hooks NATSHooks) *nats.Conn {
	t.Helper()
	server, err := local.StartNATS(local.NATSConfig{})
	ok(t, err)
	t.Cleanup(func() { ok(t, server.Stop()) })
	p, err := StartNATS(server.URL()[len("nats://"):], hooks)
	ok(t, err)
	t.Cleanup(p.Close)
	closed := make(chan struct{})
	nc, err := nats.Connect("nats://"+p.Addr(), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	ok(t, err)
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// deliver makes a stream, publishes to it, and returns the messages as a consumer gets them.
func deliver(t *testing.T, nc *nats.Conn, list ...*nats.Msg) []jetstream.Msg {
	t.Helper()
	js, err := jetstream.New(nc)
	ok(t, err)
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	ok(t, err)
	c, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	ok(t, err)
	for _, m := range list {
		_, err = js.PublishMsg(t.Context(), m)
		ok(t, err)
	}
	batch, err := c.Fetch(len(list), jetstream.FetchMaxWait(20*time.Second))
	ok(t, err)
	var got []jetstream.Msg
	for m := range batch.Messages() {
		got = append(got, m)
	}
	ok(t, batch.Error())
	return got
}

func TestNATSSeesMessages(t *testing.T) {
	var s seen
	nc := through(t, NATSHooks{
		Sent: func(m Message) bool {
			switch {
			case m.Ack():
				s.add("ack")
			case m.Subject[0] != '$' && m.Subject[0] != '_':
				s.add(fmt.Sprintf("sent %s %q %v", m.Subject, m.Data, m.Reply != ""))
			}
			return true
		},
		Received: func(m Message) bool {
			if m.Delivery() {
				s.add(fmt.Sprintf("delivered %s %q", m.Subject, m.Data))
			}
			return true
		},
	})
	headers := nats.NewMsg("s.b")
	headers.Data = []byte("two\r\nPUB x 1\r\n")
	headers.Header.Set("A", "B")
	empty := nats.NewMsg("s.c")
	empty.Header.Set("A", "B")
	list := deliver(t, nc, &nats.Msg{Subject: "s.a", Data: []byte("one")}, headers, empty)
	ok(t, list[0].InProgress())
	ok(t, list[0].Nak())
	ok(t, list[1].DoubleAck(t.Context()))
	want := []string{`sent s.a "one" true`, `sent s.b "two\r\nPUB x 1\r\n" true`, `sent s.c "" true`,
		`delivered s.a "one"`, `delivered s.b "two\r\nPUB x 1\r\n"`, `delivered s.c ""`, "ack"}
	if diff := cmp.Diff(want, s.all()); diff != "" {
		t.Error(diff)
	}
	if string(list[1].Data()) != string(headers.Data) || list[1].Headers().Get("A") != "B" {
		t.Errorf("%q %v", list[1].Data(), list[1].Headers())
	}
}

func TestNATSDrops(t *testing.T) {
	got := make(chan string, 1)
	nc := through(t, NATSHooks{Sent: func(m Message) bool {
		if m.Subject == "s.b" {
			got <- string(m.Data)
			return false
		}
		return true
	}})
	deliver(t, nc, &nats.Msg{Subject: "s.a", Data: []byte("one")})
	ok(t, nc.Publish("s.b", []byte("two")))
	if m := <-got; m != "two" {
		t.Errorf("dropped %q", m)
	}
	if err := nc.FlushTimeout(20 * time.Second); err == nil {
		t.Error("the connection has not been dropped")
	}
}

func TestParseNATS(t *testing.T) {
	for line, want := range map[string][]any{
		"PUB a 5":               {"a", "", 0, 5, true},
		"pub a r 5":             {"a", "r", 0, 5, true},
		"HPUB a 12 17":          {"a", "", 12, 17, true},
		"HPUB a r 12 17":        {"a", "r", 12, 17, true},
		"MSG a 1 5":             {"a", "", 0, 5, true},
		"MSG a 1 r 5":           {"a", "r", 0, 5, true},
		"HMSG a 1 12 17":        {"a", "", 12, 17, true},
		"HMSG a 1 r 12 17":      {"a", "r", 12, 17, true},
		"PING":                  {"", "", 0, 0, false},
		"SUB a 1":               {"", "", 0, 0, false},
		`INFO {"a": 1, "b": 2}`: {"", "", 0, 0, false},
		"-ERR 'no such 5'":      {"", "", 0, 0, false},
	} {
		m, header, total, ok := parseNATS([]byte(line + "\r\n"))
		if got := []any{m.Subject, m.Reply, header, total, ok}; !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}
