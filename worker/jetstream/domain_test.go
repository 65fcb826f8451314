package jetstream

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
)

// At a leaf node the hub's stream is used by its domain's name, from end to end, lanes too. Without the name no second
// stream is made, which would store each event once more.
func TestDomain(t *testing.T) {
	t.Parallel()
	var port int
	hub := newEnvWith(t, local.NATSConfig{Options: func(o *server.Options) {
		port = o.Port + 1
		o.JetStreamDomain = "hub"
		o.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: port}
	}})
	leaf := newEnvWith(t, local.NATSConfig{Options: func(o *server.Options) {
		o.JetStreamDomain = "leaf"
		remote := &url.URL{Scheme: "nats-leaf", Host: "127.0.0.1:" + strconv.Itoa(port)}
		o.LeafNode = server.LeafNodeOpts{ReconnectInterval: 100 * time.Millisecond,
			Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}}}}
	}})
	if _, err := Init(t.Context(), hub.nc, InitConfig{}); err == nil {
		t.Fatal("a stream was made, and nobody has said that it belongs here")
	} else {
		contains(t, err.Error(), "no stream CRM_EVENTS in hub", "type 'crmintake init --nats-domain=hub'")
	}
	hub.init(t, InitConfig{Config: Config{Domain: "hub"}})
	if _, err := Init(t.Context(), hub.nc, InitConfig{}); err != nil {
		t.Errorf("the stream is there: %v", err)
	}

	_, err := Init(t.Context(), leaf.nc, InitConfig{})
	if err == nil {
		t.Fatal("a second stream was made")
	}
	contains(t, err.Error(), "no stream CRM_EVENTS in leaf", "--nats-domain")
	if _, err = openSource(t, leaf.nc, Config{}); err == nil {
		t.Fatal("the leaf has a stream")
	}
	contains(t, err.Error(), "the domain leaf", "--nats-domain")
	var s *Source
	until(t, "the leaf reaches the hub", func() bool {
		s, err = openSource(t, leaf.nc, Config{Domain: "hub"})
		return err == nil
	})
	p, err := OpenPublisher(t.Context(), leaf.nc, PublisherConfig{Domain: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, objectType := range []string{"deals", "tickets", "contracts"} {
		if err := p.Publish(t.Context(), Message{Subject: "crm.create." + objectType,
			ID: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := brings(t, s, "deals", "tickets", "contracts")
	if first[0].Stream != "CRM_EVENTS" {
		t.Errorf("it is of %q", first[0].Stream)
	}
	settled(t, s, 0, 3)
	s.Restrict(map[string]int{"contracts": 0})
	ackAll(first)
	settled(t, s, 0, 0)
	for _, objectType := range []string{"contracts", "deals", "tickets"} {
		if _, err := hub.js.PublishMsg(t.Context(), &nats.Msg{Subject: "crm.create." + objectType}); err != nil {
			t.Fatal(err)
		}
	}
	ackAll(brings(t, s, "deals", "tickets"))
	settled(t, s, 1, 0)
	wantStranded(t, s, 0)
	s.Restrict(nil)
	ackAll(brings(t, s, "contracts"))
	settled(t, s, 0, 0)
}

func TestDomainName(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a.b", "a b", ">", "*"} {
		if (Config{Domain: bad}).Validate() == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if got, want := (Config{Domain: "hub", Stream: "S"}).nextSubject("c"),
		"$JS.hub.API.CONSUMER.MSG.NEXT.S.c"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
