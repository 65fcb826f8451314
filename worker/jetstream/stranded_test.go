package jetstream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker"
)

// stranded asks, and fails if there are not so many, or if the advice lacks a part.
func wantStranded(t *testing.T, s *Source, want int, parts ...string) {
	t.Helper()
	got, advice, err := s.Stranded(t.Context())
	if err != nil || got != want {
		t.Fatalf("%d are stranded (%v), want %d: %s", got, err, want, advice)
	}
	contains(t, advice, parts...)
}

// strand has the consumer give up on what is published, of these object types, before its max_deliver is taken back.
func (e *env) strand(t *testing.T, s *Source, objectTypes ...string) {
	t.Helper()
	e.edit(t, func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 1 })
	e.of(t, objectTypes...)
	for _, one := range fetch(t, s, len(objectTypes)) {
		_ = one.Message.Nak(0)
	}
	e.givesUp(t, s, "crmintake")
	e.edit(t, func(c *jetstream.ConsumerConfig) { c.MaxDeliver = -1 })
}

// givesUp waits until a consumer waits for no ack: it gives up on what it is asked for.
func (e *env) givesUp(t *testing.T, s *Source, consumer string) {
	t.Helper()
	until(t, consumer+" has given up", func() bool {
		if err := s.Fetch(t.Context(), 10, 1<<20, func(e *worker.Event) {
			t.Errorf("%s is delivered", e.Subject)
		}); err != nil {
			t.Fatal(err)
		}
		return e.info(t, consumer).NumAckPending == 0
	})
}

// edit changes the shared consumer.
func (e *env) edit(t *testing.T, change func(*jetstream.ConsumerConfig)) {
	t.Helper()
	c := e.info(t, "crmintake").Config
	change(&c)
	if _, err := e.js.UpdateConsumer(t.Context(), "CRM_EVENTS", c); err != nil {
		t.Fatal(err)
	}
}

// What was delivered as often as a max_deliver allowed is found, though the consumer says that it has nothing, and
// delivered by lanes; what comes meanwhile is, too.
func TestStrandedByMaxDeliver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	wantStranded(t, s, 0)
	e.strand(t, s, "deals", "deals", "contacts")
	e.of(t, "tickets")
	wantStranded(t, s, 3, "3 events of the stream CRM_EVENTS are delivered to nobody any more",
		"type 'nats consumer rm CRM_EVENTS crmintake --force', then 'crmintake init --ack-wait=1h0m0s'")
	ackAll(brings(t, s, "deals", "deals", "contacts", "tickets"))
	settled(t, s, 0, 0)
	wantStranded(t, s, 0)
	e.one(t, s)
}

// Where there can't be lanes, the advice helps.
func TestStrandedUntilTheConsumerIsMadeAnew(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.WorkQueuePolicy, MaxConsumers: 1}
	if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	e.strand(t, s, "deals", "deals")
	wantStranded(t, s, 2)
	nothingComes(t, s)
	wantStranded(t, s, 2)
	if err := e.js.DeleteConsumer(t.Context(), "CRM_EVENTS", "crmintake"); err != nil {
		t.Fatal(err)
	}
	s = e.init(t, InitConfig{})
	ackAll(brings(t, s, "deals", "deals"))
	settled(t, s, 0, 0)
	wantStranded(t, s, 0)
}

// A lane's are found, too, and delivered by a new one.
func TestStrandedInALane(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{AckWait: time.Hour})
	s.fetcher.lanes.oldLane = 0
	e.of(t, "deals", "contracts", "tickets")
	s.Restrict(map[string]int{"contracts": 0})
	got := brings(t, s, "deals", "tickets")
	wantStranded(t, s, 0) // nobody has made a lane for contracts
	lane := e.info(t, "crmintake-deals").Config
	if lane.MaxDeliver != -1 {
		t.Errorf("the lane delivers %d times", lane.MaxDeliver)
	}
	lane.MaxDeliver = 1
	if _, err := e.js.UpdateConsumer(t.Context(), "CRM_EVENTS", lane); err != nil {
		t.Fatal(err)
	}
	for _, one := range got {
		if one.ObjectType == "deals" {
			_ = one.Message.Nak(0)
		}
	}
	e.givesUp(t, s, "crmintake-deals")
	wantStranded(t, s, 1, "type 'nats consumer rm CRM_EVENTS crmintake-deals --force'")
	ackAll(brings(t, s, "deals"))
	wantStranded(t, s, 0)
}

// Subjects that no consumer takes are reported, those of other applications are not.
func TestStrandedSubjects(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>", "audit.>"},
		Retention: jetstream.WorkQueuePolicy}
	st, err := e.js.CreateStream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	for _, subject := range []string{"audit.login", "audit.logout", "crm.create.deals"} {
		e.publish(t, &nats.Msg{Subject: subject})
	}
	wantStranded(t, s, 0)
	if _, err := st.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "audit", FilterSubject: "audit.>",
		AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	wantStranded(t, s, 0)
	stream.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "crm.create.>", Destination: "made.>"}
	if _, err := e.js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	e.of(t, "deals", "tickets")
	wantStranded(t, s, 2, "no consumer takes their subjects, such as made.",
		`'export CRMINTAKE_SUBJECT="made.>"', 'nats consumer rm CRM_EVENTS crmintake --force' and 'crmintake init'`)
}

// While events come and are acked as fast as can be, none is ever taken for stranded, whatever the retention.
func TestNothingIsStrandedUnderLoad(t *testing.T) {
	t.Parallel()
	for _, retention := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy,
		jetstream.LimitsPolicy} {
		t.Run(retention.String(), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
				Retention: retention}
			if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			e.underLoad(t, e.init(t, InitConfig{}), e.nc)
		})
	}
}

// underLoad looks for stranded events, at once and again, while others are published and acked, some after they were
// put off.
func (e *env) underLoad(t *testing.T, s *Source, nc *nats.Conn) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer func() {
		stop()
		all.Wait()
	}()
	all.Go(func() {
		p, err := OpenPublisher(ctx, nc, PublisherConfig{Window: 100})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		for i := 0; ctx.Err() == nil; i++ {
			if err := p.Publish(ctx, Message{Subject: fmt.Sprint("crm.create.t", i%3),
				ID: fmt.Sprint(i)}); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	all.Go(func() {
		for n := 0; ctx.Err() == nil; {
			err := s.Fetch(ctx, 100, 1<<20, func(one *worker.Event) {
				if n++; n%10 == 0 && !one.Redelivered {
					_ = one.Message.Nak(0)
				} else {
					_ = one.Message.Ack()
				}
			})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		if l, err := s.view.lookForStranded(ctx, strandedLag); err != nil || l.passed > 0 {
			t.Fatalf("%+v are stranded (%v)", l, err)
		}
		wantStranded(t, s, 0)
	}
}

// What is acked stays in such a stream. A consumer that has given up on events is found out until it has all acks
// again.
func TestStrandedWhereAckedMessagesStay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.LimitsPolicy}
	if _, err := e.js.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	s := e.init(t, InitConfig{})
	e.of(t, "deals")
	ackAll(brings(t, s, "deals"))
	settled(t, s, 0, 0)
	wantStranded(t, s, 0)
	e.edit(t, func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 2 })
	e.of(t, "deals", "tickets")
	for range 2 {
		for _, one := range brings(t, s, "deals", "tickets") {
			_ = one.Message.Nak(0)
		}
	}
	e.givesUp(t, s, "crmintake")
	wantStranded(t, s, 2, "then 'crmintake init'; all that the stream keeps then comes again")
	if _, err := openSource(t, e.nc, Config{}); err == nil || !strings.Contains(err.Error(), "2 times at most") {
		t.Errorf("open: %v", err)
	}
}
