package jetstream

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crmintake/worker"
)

// one waits until the shared consumer delivers everything again, and there is no other.
func (e *env) one(t *testing.T, s *Source) {
	t.Helper()
	until(t, "there is one consumer again", func() bool {
		if err := s.Fetch(t.Context(), 10, 1<<20, func(e *worker.Event) {
			t.Errorf("%s is delivered", e.Subject)
		}); err != nil {
			t.Fatal(err)
		}
		return len(e.names(t)) == 1
	})
	if f := e.info(t, "crmintake").Config.FilterSubject; f != "crm.create.>" {
		t.Errorf("it delivers %s", f)
	}
}

// A worker that knows of no restriction uses the consumers that another one has made, and goes back with it.
func TestLanesOfTheFleet(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	other, err := openSource(t, e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.of(t, "contracts")
	s.Restrict(map[string]int{"contracts": 0})
	nothingComes(t, s)
	late, err := openSource(t, e.nc, Config{})
	if err != nil || len(late.Warnings()) > 0 {
		t.Fatalf("%v, warnings %q", err, late.Warnings())
	}
	if report, err := Init(t.Context(), e.nc, InitConfig{AckWait: time.Hour}); err != nil ||
		report.Consumer.Notes != nil {
		t.Errorf("init: %v, %+v", err, report)
	}
	until(t, "the worker of before finds out", func() bool {
		nothingComes(t, s)
		n := 0
		if err := other.Fetch(t.Context(), 1, 1<<20, func(*worker.Event) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	e.of(t, "deals")
	deal := brings(t, late, "deals")
	ackAll(deal)
	settled(t, other, 0, 1)
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Restrict(nil)
	e.one(t, s)
	for _, each := range []*Source{late, other, s} {
		e.of(t, "deals")
		ackAll(brings(t, each, "deals"))
	}
	settled(t, other, 0, 0)
}

// What the shared consumer has delivered when the restriction comes is acked by whoever has it, or comes once more;
// what it has not is delivered once.
func TestLanesTakeOver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	old := e.init(t, InitConfig{AckWait: time.Hour})
	e.of(t, slices.Repeat([]string{"contracts", "deals"}, 20)...)
	held := fetch(t, old, 20)
	_ = held[0].Message.Nak(time.Hour)
	_ = held[2].Message.Nak(0)
	settled(t, old, 20, 20)
	s, err := openSource(t, e.nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Restrict(map[string]int{"contracts": 0})
	deals := fetch(t, s, 10)
	for _, one := range held[10:] { // of which s may have some, too
		_ = one.Message.Ack()
	}
	ackAll(deals)
	ackAll(fetch(t, s, 10))
	s.Restrict(nil)
	for limit := time.Now().Add(patience); ; {
		var got []*worker.Event
		if err := s.Fetch(t.Context(), 100, 1<<20, func(e *worker.Event) { got = append(got, e) }); err != nil {
			t.Fatal(err)
		}
		ackAll(got)
		if pending, unacked, err := s.Outstanding(t.Context()); err != nil || pending+unacked == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("not all can be acked")
		}
	}
	e.one(t, s)
	nothingComes(t, old)
	e.of(t, "contracts")
	brings(t, old, "contracts")
}

// The consumer of an object type goes when there was nothing of it for long. What comes later makes it anew.
func TestIdleLanes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	s.fetcher.lanes.keep = time.Second
	e.of(t, "contracts", "deals")
	s.Restrict(map[string]int{"contracts": 0})
	held := brings(t, s, "deals")
	nothingComes(t, s)
	if names := e.names(t); cmp.Diff([]string{"crmintake", "crmintake-deals"}, names) != "" {
		t.Fatalf("consumers %q", names) // one is in hand
	}
	ackAll(held)
	until(t, "the consumer goes", func() bool { nothingComes(t, s); return len(e.names(t)) == 1 })
	e.of(t, "deals")
	ackAll(brings(t, s, "deals"))
	settled(t, s, 1, 0)
	// As another worker sees it, which removes it: who fetches from it makes it again.
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake-deals"); err != nil {
		t.Fatal(err)
	}
	e.of(t, "deals")
	ackAll(brings(t, s, "deals"))
	settled(t, s, 1, 0)
}

// What the shared consumer has passed over, since somebody changed its filter and back, is found and delivered.
func TestPassedOver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	change := func(filter string) {
		t.Helper()
		c := e.info(t, "crmintake").Config
		c.FilterSubject = filter
		if _, err := e.js.UpdateConsumer(t.Context(), "CRM_EVENTS", c); err != nil {
			t.Fatal(err)
		}
	}
	change("crm.create.none")
	e.of(t, "deals", "none")
	ackAll(brings(t, s, "none"))
	change("crm.create.>")
	ackAll(brings(t, s, "deals"))
	e.one(t, s)
}
