package jetstream

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

func TestInitCreates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for round, created := range []bool{true, false, false} {
		report, err := Init(t.Context(), e.nc, InitConfig{AckWait: 42 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		want := InitReport{Stream: Part{Name: "CRM_EVENTS", Created: created},
			Consumer: Part{Name: "crmintake", Created: created}}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
	}
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	s := stream.CachedInfo().Config
	if s.Retention != jetstream.WorkQueuePolicy || s.Storage != jetstream.FileStorage ||
		s.Discard != jetstream.DiscardNew ||
		s.Replicas != 1 || s.Duplicates != DuplicateWindow || cmp.Diff([]string{"crm.create.>"}, s.Subjects) != "" {
		t.Errorf("stream %+v", s)
	}
	consumer, err := stream.Consumer(t.Context(), "crmintake")
	if err != nil {
		t.Fatal(err)
	}
	c := consumer.CachedInfo().Config
	if c.Durable != "crmintake" || c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxDeliver != -1 ||
		c.MaxAckPending != -1 ||
		c.AckWait != 42*time.Second || c.FilterSubject != "crm.create.>" {
		t.Errorf("consumer %+v", c)
	}
	source, err := openSource(t, e.nc, Config{})
	if err != nil || len(source.Warnings()) > 0 || source.AckWait() != 42*time.Second {
		t.Errorf("open: %v, warnings %q, ack wait %v", err, source.Warnings(), source.AckWait())
	}
}

func TestInitAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			report, err := Init(t.Context(), e.nc, InitConfig{})
			if err != nil || report.Stream.Notes != nil || report.Consumer.Notes != nil {
				t.Errorf("%v, %+v", err, report)
			}
		})
	}
	all.Wait()
}

func TestInitConfigValidate(t *testing.T) {
	t.Parallel()
	for _, bad := range []InitConfig{{Replicas: 6}, {Replicas: -1}, {AckWait: -1}, {AckWait: time.Millisecond},
		{Config: Config{Stream: "a.b"}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
		if _, err := Init(t.Context(), nil, bad); err == nil {
			t.Errorf("%+v is accepted by Init", bad)
		}
	}
}

// What exists is checked and left alone: by Init, which reports what differs, and by Open.
func TestExisting(t *testing.T) {
	t.Parallel()
	usualStream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		Duplicates: DuplicateWindow}
	usualConsumer := jetstream.ConsumerConfig{Durable: "crmintake", FilterSubject: "crm.create.>",
		AckPolicy: jetstream.AckExplicitPolicy,
		AckWait:   time.Minute, MaxAckPending: -1}
	for name, c := range map[string]struct {
		stream   func(*jetstream.StreamConfig)
		consumer func(*jetstream.ConsumerConfig)
		fault    string // what crmintake can't work with
		note     string // what Init says
		silent   bool   // Open doesn't say it
	}{
		"usual": {},
		"limits": {stream: func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy },
			note: "costs space", silent: true},
		"interest": {stream: func(s *jetstream.StreamConfig) { s.Retention = jetstream.InterestPolicy },
			note: "as long as the consumer crmintake exists", silent: true},
		"memory": {stream: func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage },
			note: "loses the events in it"},
		"the usual duplicate window": {stream: func(s *jetstream.StreamConfig) { s.Duplicates = 0 },
			note: "whose id it had within 2m0s, whatever is in it; the outbox tells repeats from other events; type " +
				"'nats stream edit CRM_EVENTS --dupe-window=2s --force'"},
		"drops old": {stream: func(s *jetstream.StreamConfig) { s.Discard, s.MaxMsgs = jetstream.DiscardOld, 10 },
			note: "beyond 10 messages; type 'nats stream edit CRM_EVENTS --discard=new --force'"},
		"drops old of a subject": {stream: func(s *jetstream.StreamConfig) {
			s.Discard, s.MaxMsgsPerSubject = jetstream.DiscardOld, 1
		},
			note: "beyond 1 messages; type 'nats stream edit CRM_EVENTS --discard=new --discard-per-subject --force'"},
		"drops old of a subject all the same": {stream: func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 1 },
			note: "drops the oldest events of a subject, taken or not, beyond 1 messages; type 'nats stream edit " +
				"CRM_EVENTS --discard=new --discard-per-subject"},
		"refuses new of a subject": {stream: func(s *jetstream.StreamConfig) {
			s.MaxMsgsPerSubject, s.DiscardNewPerSubject = 1, true
		}},
		"refuses new": {stream: func(s *jetstream.StreamConfig) { s.MaxMsgs = 10 }},
		"age": {stream: func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour },
			note: "after 1h0m0s; type 'nats stream edit CRM_EVENTS --max-age=0s --force'"},
		"confirms nothing": {stream: func(s *jetstream.StreamConfig) { s.NoAck = true },
			fault: "missed by nobody; type 'nats stream edit CRM_EVENTS --ack --force'"},
		"confirms early": {stream: func(s *jetstream.StreamConfig) { s.PersistMode = jetstream.AsyncPersistMode },
			note: "stop the publishers, then type 'crmintake run --drain', 'nats stream rm CRM_EVENTS --force' and " +
				"'crmintake init'"},
		"times to live": {stream: func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true },
			note: "(Nats-TTL); if one does, that can't be changed: stop the publishers"},
		"rollup": {stream: func(s *jetstream.StreamConfig) { s.AllowRollup = true },
			note: "type 'nats stream edit CRM_EVENTS --no-allow-rollup --force'"},
		"markers": {stream: func(s *jetstream.StreamConfig) { s.SubjectDeleteMarkerTTL = time.Hour },
			note: "type 'nats stream edit CRM_EVENTS --subject-del-markers-ttl=0s --no-allow-rollup --force'"},
		"schedules": {stream: func(s *jetstream.StreamConfig) {
			s.Discard, s.AllowMsgSchedules = jetstream.DiscardOld,
				true
		},
			note: `type 'nats stream edit CRM_EVENTS --subjects="crm.create.>,crm.create-schedules.>" --force', ` +
				`and publish them there`},
		"schedules aside": {stream: func(s *jetstream.StreamConfig) {
			s.Discard, s.AllowMsgSchedules, s.Subjects = jetstream.DiscardOld, true, []string{"crm.create.>", "later.>"}
		}},
		"few consumers": {stream: func(s *jetstream.StreamConfig) { s.MaxConsumers = 2 },
			note: "limited to 2 consumers, so that a paused object type's events slow down the others; type 'nats " +
				"stream edit CRM_EVENTS --max-consumers=0 --force'"},
		"limits of consumers": {
			stream: func(s *jetstream.StreamConfig) { s.ConsumerLimits.InactiveThreshold = time.Hour },
			note: `type 'EDITOR="sed -i.before /inactive_threshold:/d" nats stream edit CRM_EVENTS ` +
				`--interactive --force'`},
		"few in hand by the stream": {
			stream:   func(s *jetstream.StreamConfig) { s.ConsumerLimits.MaxAckPending = 100 },
			consumer: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 100 },
			note: `type 'EDITOR="sed -i.before /max_ack_pending:/d" nats stream edit CRM_EVENTS ` +
				`--interactive --force'`,
		},
		"stores as": {stream: func(s *jetstream.StreamConfig) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "crm.create.>", Destination: "made.>"}
		}, fault: `type 'export CRMINTAKE_SUBJECT="made.>"', 'nats consumer rm CRM_EVENTS ` +
			`crmintake --force' and 'crmintake init', and`},
		"stores some as": {stream: func(s *jetstream.StreamConfig) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "crm.create.*.new",
				Destination: "new.{{wildcard(1)}}.x"}
		}, fault: "as new.*.x, which is not read as crm.create.>; type 'nats stream edit CRM_EVENTS --no-transform " +
			"--force'"},
		"stores others as ours": {stream: func(s *jetstream.StreamConfig) {
			s.Subjects, s.SubjectTransform = []string{"raw.>"}, &jetstream.SubjectTransformConfig{Source: "raw.>",
				Destination: "crm.create.>"}
		}},
		"copies others": {stream: func(s *jetstream.StreamConfig) {
			s.Subjects, s.Sources = nil, []*jetstream.StreamSource{{Name: "OTHER", FilterSubject: "old.>"}}
		}, fault: `stores what it copies from OTHER as old.>, and crmintake reads crm.create.>; ` +
			`to read that, type 'export CRMINTAKE_SUBJECT="old.>"'`},
		"copies others as ours": {stream: func(s *jetstream.StreamConfig) {
			s.Subjects, s.Sources = nil, []*jetstream.StreamSource{{Name: "OTHER",
				SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "old.>", Destination: "crm.create.>"}}}}
		}},
		"copies others as well": {stream: func(s *jetstream.StreamConfig) {
			s.Sources = []*jetstream.StreamSource{{Name: "OTHER", FilterSubject: "old.>"}}
		}, note: "stores what it copies from OTHER as old.>"},
		"mirror": {stream: func(s *jetstream.StreamConfig) {
			s.Subjects, s.Mirror = nil, &jetstream.StreamSource{Name: "OTHER"}
		}},
		"more subjects": {stream: func(s *jetstream.StreamConfig) { s.Subjects = []string{"crm.>", "other"} }},
		"no subject": {
			stream:   func(s *jetstream.StreamConfig) { s.Subjects = []string{"other.x"} },
			consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "other.x" },
			fault:    `type 'nats stream edit CRM_EVENTS --subjects="other.x,crm.create.>" --force'`,
		},
		"no filter, same subject": {consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "" }},
		"no filter": {
			stream:   func(s *jetstream.StreamConfig) { s.Subjects = []string{"crm.>"} },
			consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "" },
			fault:    "delivers crm.>, and not only crm.create.>",
		},
		"narrow filter": {
			consumer: func(c *jetstream.ConsumerConfig) {
				c.FilterSubject, c.FilterSubjects = "", []string{"crm.create.a", "crm.create.b"}
			},
			note: "delivers crm.create.a, crm.create.b, and not all of crm.create.>: other events wait; type 'nats " +
				"consumer rm CRM_EVENTS crmintake --force', then 'crmintake init', or",
		},
		"no acks": {
			stream: func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy },
			consumer: func(c *jetstream.ConsumerConfig) {
				c.AckPolicy, c.AckWait, c.MaxAckPending = jetstream.AckNonePolicy, 0, 0
			},
			fault: `ack policy "AckNone"; crmintake needs explicit acks: type 'nats consumer rm CRM_EVENTS ` +
				`crmintake --force', then 'crmintake init'`,
		},
		"headers only": {consumer: func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
			fault: "--no-headers-only"},
		"priorities": {consumer: func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"a"}
		}, fault: "priority groups"},
		"max deliver": {consumer: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
			fault: "5 times at most: what is not taken by then is delivered to nobody, whatever the number is later; " +
				"type 'nats consumer rm CRM_EVENTS crmintake --force', then 'crmintake init'"},
		"backoff": {consumer: func(c *jetstream.ConsumerConfig) {
			c.BackOff, c.AckWait = []time.Duration{time.Minute, 5 * time.Second}, 0
		}, note: "another worker after 5s (backoff), while the first may have it in a call; type 'nats consumer edit " +
			"CRM_EVENTS crmintake --backoff=none --wait=1m0s --force'"},
		"long backoff": {consumer: func(c *jetstream.ConsumerConfig) {
			c.BackOff, c.AckWait = []time.Duration{time.Minute, time.Hour}, 0
		}},
		"consumer in memory": {consumer: func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true },
			note: "forgets what was acked and put off; type 'nats consumer rm CRM_EVENTS crmintake --force', then " +
				"'crmintake init'"},
		"few in hand": {consumer: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1000 },
			note: "at most 1000 events in hand, over all workers, and those put off count; type 'nats consumer edit " +
				"CRM_EVENTS crmintake --max-pending=1000000 --force'"},
		"inactive": {consumer: func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour },
			note: "disappears when no worker has run for 1h0m0s"},
		"replay": {consumer: func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
			note: "at the speed at which it was published"},
		"new only": {
			stream:   func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy },
			consumer: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
			note:     `deliver policy "new"`,
		},
		"ack wait": {consumer: func(c *jetstream.ConsumerConfig) { c.AckWait = 7 * time.Second },
			note:   "ack wait of 7s, and not 1m0s; type 'nats consumer edit CRM_EVENTS crmintake --wait=1m0s --force'",
			silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			stream, consumer := usualStream, usualConsumer
			if c.stream != nil {
				c.stream(&stream)
			}
			if c.consumer != nil {
				c.consumer(&consumer)
			}
			s, err := e.js.CreateStream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateConsumer(t.Context(), consumer); err != nil {
				t.Fatal(err)
			}
			before := configs(t, e)
			report, err := Init(t.Context(), e.nc, InitConfig{})
			source, openErr := openSource(t, e.nc, Config{})
			if diff := cmp.Diff(before, configs(t, e)); diff != "" {
				t.Errorf("changed: %s", diff)
			}
			if report.Stream.Created || report.Consumer.Created {
				t.Errorf("created: %+v", report)
			}
			faults := strings.Join(append(report.Stream.Faults, report.Consumer.Faults...), "\n")
			notes := strings.Join(append(report.Stream.Notes, report.Consumer.Notes...), "\n")
			if c.fault != "" {
				if err == nil || openErr == nil {
					t.Fatalf("init: %v; open: %v", err, openErr)
				}
				contains(t, err.Error(), c.fault)
				contains(t, openErr.Error(), c.fault)
				contains(t, faults, c.fault)
				return
			}
			if err != nil || openErr != nil || faults != "" {
				t.Fatalf("init: %v; open: %v; faults %q", err, openErr, faults)
			}
			contains(t, notes, c.note)
			warnings := strings.Join(source.Warnings(), "\n")
			if c.note == "" && notes+warnings != "" {
				t.Errorf("it says %q and %q", notes, warnings)
			}
			if !c.silent {
				contains(t, warnings, c.note)
			} else if strings.Contains(warnings, c.note) {
				t.Errorf("open warns: %q", warnings)
			}
		})
	}
}

func configs(t *testing.T, e *env) (list []any) {
	t.Helper()
	s, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Consumer(t.Context(), "crmintake")
	if err != nil {
		t.Fatal(err)
	}
	return []any{s.CachedInfo().Config, c.CachedInfo().Config}
}

func TestPushConsumer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s, err := e.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.create.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreatePushConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "crmintake",
		DeliverSubject: "to.me"}); err != nil {
		t.Fatal(err)
	}
	report, err := Init(t.Context(), e.nc, InitConfig{})
	if err == nil || len(report.Consumer.Faults) != 1 {
		t.Fatalf("%v, %+v", err, report)
	}
	contains(t, err.Error(), "is a push consumer", "type 'nats consumer rm CRM_EVENTS crmintake --force'", "--consumer")
	if _, err := openSource(t, e.nc, Config{}); err == nil {
		t.Error("a push consumer can be opened")
	}
}

// A work queue gives each event to one consumer, so it refuses a second one.
func TestSecondConsumerOfWorkQueue(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.init(t, InitConfig{})
	_, err := Init(t.Context(), e.nc, InitConfig{Config: Config{Consumer: "other"}})
	if err == nil {
		t.Fatal("created")
	}
	contains(t, err.Error(), "create the consumer other of stream CRM_EVENTS", "unique")
	if _, err := openSource(t, e.nc, Config{Stream: "NONE"}); err == nil ||
		!strings.Contains(err.Error(), "the stream NONE does not exist") {
		t.Errorf("no stream: %v", err)
	}
	if _, err := openSource(t, e.nc, Config{Subject: "x"}); err == nil {
		t.Error("a wrong subject is accepted")
	}
}
