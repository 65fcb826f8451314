package jetstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

// of publishes an event of each of these object types.
func (e *env) of(t *testing.T, objectTypes ...string) {
	t.Helper()
	var confirmed []jetstream.PubAckFuture
	for _, objectType := range objectTypes {
		f, err := e.js.PublishMsgAsync(&nats.Msg{Subject: "crm.create." + objectType})
		if err != nil {
			t.Fatal(err)
		}
		confirmed = append(confirmed, f)
	}
	for _, f := range confirmed {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatalf("not confirmed within %v", patience)
		}
	}
}

// tail is what a subject has behind the prefix, of each event.
func tails(events []*worker.Event) (list []string) {
	for _, e := range events {
		list = append(list, strings.TrimPrefix(e.Subject, "crm.create."))
	}
	return list
}

func ackAll(events []*worker.Event) {
	for _, e := range events {
		_ = e.Message.Ack()
	}
}

// brings fetches as many as are wanted, and fails if they are others.
func brings(t *testing.T, s *Source, want ...string) []*worker.Event {
	t.Helper()
	got := fetch(t, s, len(want))
	if diff := cmp.Diff(want, tails(got), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Fatal(diff)
	}
	return got
}

// nothingComes fails if a fetch or two bring anything.
func nothingComes(t *testing.T, s *Source) {
	t.Helper()
	for range 2 {
		if err := s.Fetch(t.Context(), 100, 1<<20, func(e *worker.Event) {
			t.Errorf("%s is delivered", e.Subject)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// names are those of all consumers.
func (e *env) names(t *testing.T) (list []string) {
	t.Helper()
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		list = append(list, name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func (e *env) info(t *testing.T, consumer string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := e.js.Consumer(t.Context(), "CRM_EVENTS", consumer)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// A restricted object type is not fetched, be it the whole of the stream's beginning; all else is, also what names no
// object type, or is of one that nobody has seen before.
func TestRestrict(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	e.of(t, "contracts", "contracts", "contracts", "deals", "a.b", "c.d.e", "not$one", splitToken, "deals")
	s.Restrict(map[string]int{"contracts": 0})
	got := brings(t, s, "deals", "deals", "a.b", "c.d.e", "not$one", splitToken)
	for _, one := range got {
		if valid := one.ObjectType == "deals"; valid != (one.Invalid == "") || one.Lane != true {
			t.Errorf("%+v", one)
		}
	}
	settled(t, s, 4, 5) // the shared consumer's does not count
	ackAll(got)
	settled(t, s, 3, 0)
	nothingComes(t, s)
	e.of(t, "tickets", "deals")
	ackAll(brings(t, s, "tickets", "deals"))
	if i := e.info(t, "crmintake"); i.Delivered.Consumer != 1 || i.Config.FilterSubject != "crm.create.$apart" {
		t.Errorf("the shared consumer delivered %d and filters %s, want but the odd one", i.Delivered.Consumer,
			i.Config.FilterSubject)
	}
	if names := e.names(t); slices.Contains(names, "crmintake-contracts") {
		t.Errorf("nobody may fetch contracts, and there is a consumer for them: %q", names)
	}

	s.Restrict(map[string]int{"contracts": 1})
	first := brings(t, s, "contracts")
	s.Restrict(map[string]int{"contracts": 0})
	_ = first[0].Message.Nak(0)
	nothingComes(t, s)
	if i := e.info(t, "crmintake-contracts"); i.Delivered.Consumer != 1 {
		t.Errorf("%d contracts were delivered, want 1", i.Delivered.Consumer)
	}
	settled(t, s, 2, 1)
	s.Restrict(nil)
	again := brings(t, s, "contracts", "contracts", "contracts")
	settled(t, s, 0, 3)
	ackAll(again)
	e.one(t, s)
	e.of(t, "deals")
	if one := brings(t, s, "deals")[0]; one.Lane {
		t.Error("it came by a consumer of its own")
	}
	settled(t, s, 0, 1)
}

// Many workers and many object types at once: each event comes to one of them.
func TestManyLanes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{AckWait: time.Hour})
	const types, each, workers = 100, 3, 4 // several rounds of maxPulls
	objectTypes := []string{"paused", "paused"}
	for range each {
		for k := range types {
			objectTypes = append(objectTypes, fmt.Sprint("type", k))
		}
	}
	e.of(t, objectTypes...)
	var mu sync.Mutex
	seen := map[uint64]int{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var all sync.WaitGroup
	for range workers {
		s, err := openSource(t, e.nc, Config{})
		if err != nil {
			t.Fatal(err)
		}
		s.Restrict(map[string]int{"paused": 0})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := s.Fetch(ctx, 50, 1<<20, func(ev *worker.Event) {
					mu.Lock()
					defer mu.Unlock()
					if seen[ev.StreamSeq]++; len(seen) == types*each {
						cancel()
					}
					_ = ev.Message.Ack()
				}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if len(seen) != types*each {
		t.Errorf("%d of %d events", len(seen), types*each)
	}
	for seq, n := range seen {
		if n > 1 {
			t.Errorf("event %d came %d times", seq, n)
		}
	}
}

// A busy object type leaves the others their turn, and when there is nothing the source waits instead of asking again
// and again.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	e.of(t, slices.Concat([]string{"contracts"}, slices.Repeat([]string{"deals"}, 200), []string{"tickets"})...)
	s.Restrict(map[string]int{"contracts": 0})
	var got []*worker.Event
	for fetches := 0; !slices.Contains(tails(got), "tickets"); fetches++ {
		if err := s.Fetch(t.Context(), 10, 1<<20, func(e *worker.Event) { got = append(got, e) }); err != nil {
			t.Fatal(err)
		}
		if len(got) > 40 {
			t.Fatal("200 deals go before the one ticket")
		}
	}
	got = append(got, fetch(t, s, 201-len(got))...)
	nothingComes(t, s)
	before := e.nc.Stats().OutMsgs
	begin := time.Now()
	for range 3 {
		nothingComes(t, s)
	}
	// Each second: a request for each of two object types, what ends it, and two looks.
	if n, most := e.nc.Stats().OutMsgs-before, 12*int(time.Since(begin)/time.Second+1); int(n) > most {
		t.Errorf("%d messages to the server in %v without anything to fetch", n, time.Since(begin))
	}
	ackAll(got)
}

// Who pauses the shared consumer pauses all.
func TestLanesPaused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	e.of(t, "contracts", "deals")
	s.Restrict(map[string]int{"contracts": 0})
	ackAll(brings(t, s, "deals"))
	if _, err := e.js.PauseConsumer(t.Context(), "CRM_EVENTS", "crmintake", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	nothingComes(t, s)
	e.of(t, "deals")
	nothingComes(t, s)
	if _, err := e.js.ResumeConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	ackAll(brings(t, s, "deals"))
}
