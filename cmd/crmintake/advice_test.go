//go:build natscli

// Building natscli takes minutes on a new machine: deploy/check runs this, beside the other tests.

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/outbox/outboxtest"
)

// natscli is the version whose flags the advice is for.
const natscli = "github.com/nats-io/natscli/nats@v0.5.0"

// advised is a finding of check or init, and how a stream comes to it.
type advised struct {
	says     string // which finding
	init     bool   // it is init's alone
	stream   func(*jetstream.StreamConfig)
	consumer func(*jetstream.ConsumerConfig)
	then     func(t *testing.T, a *adviser) // with stream, consumer and the first events
}

// adviser is a NATS server, a CRM and an outbox, with crmintake and nats first on the path.
type adviser struct {
	js jetstream.JetStream
}

func newAdviser(t *testing.T, url string, js jetstream.JetStream) *adviser {
	t.Helper()
	bin := t.TempDir()
	for _, build := range [][]string{{"build", "-o", filepath.Join(bin, "crmintake"), "."}, {"install", natscli}} {
		cmd := exec.CommandContext(t.Context(), "go", build...)
		cmd.Env = append(os.Environ(), "GOBIN="+bin)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", build, err, said)
		}
	}
	for name, value := range map[string]string{
		// natscli has contexts there
		"PATH": bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME": t.TempDir(),
		"NATS_URL": url, "CRMINTAKE_NATS_URL": url, "CRMINTAKE_DATABASE_URL": outboxtest.New(t),
		"CRMINTAKE_HUBSPOT_URL":   account(t).URL,
		"CRMINTAKE_HUBSPOT_TOKEN": secret, "CRMINTAKE_ID_PROPERTY": "contracts=event_id",
		"CRMINTAKE_BATCH_WAIT": "50ms",
		"CRMINTAKE_QUOTA":      "off",
	} {
		setenv(t, name, value)
	}
	crmintake(t, "", "migrate", "up").want(t, 0)
	return &adviser{js}
}

// publish waits until the events are in the stream, whether it confirms them or not.
func (a *adviser) publish(t *testing.T, ids ...string) {
	t.Helper()
	last := func() uint64 {
		s, err := a.js.Stream(t.Context(), "CRM_EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.LastSeq
	}
	want := last() + uint64(len(ids))
	for _, id := range ids {
		m := &nats.Msg{Subject: "crm.create.contracts", Data: []byte(`{"properties": {"name": "a"}}`),
			Header: nats.Header{"Nats-Msg-Id": {id}}}
		if err := a.js.Conn().PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for limit := time.Now().Add(10 * time.Second); last() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("what was published is not in the stream")
		}
	}
}

// say is all that check, or init, says of stream and consumer.
func (a *adviser) say(t *testing.T, one advised) (texts []string) {
	t.Helper()
	if one.init {
		var report initReport
		crmintake(t, "", "init", "--output", "json").json(t, &report)
		return slices.Concat(report.Stream.Faults, report.Stream.Notes, report.Consumer.Faults, report.Consumer.Notes)
	}
	var list []finding
	crmintake(t, "", "check", "--output", "json").json(t, &list)
	for _, f := range list {
		if f.Subject == "stream" && f.Level != fine {
			texts = append(texts, f.Text)
		}
	}
	return texts
}

var toType = regexp.MustCompile(`'((?:nats|crmintake|export|EDITOR=\S+ \S+ \S+) [^']+)'`)

// typeIn does what is said, in one shell, and takes over the setting that it exports.
func (a *adviser) typeIn(t *testing.T, text string) {
	t.Helper()
	script := "set -e\n"
	for _, command := range toType.FindAllStringSubmatch(text, -1) {
		script += command[1] + "\n"
	}
	if strings.Count(script, "\n") == 1 {
		t.Fatalf("there is nothing to type: %s", text)
	}
	t.Log(script)
	file := filepath.Join(t.TempDir(), "subject")
	bash := exec.CommandContext(t.Context(), "bash", "-c", script+`printf %s "$CRMINTAKE_SUBJECT" >`+file)
	bash.Env = environmentIn(t).List()
	if said, err := bash.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, said)
	}
	subject, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(subject) > 0 {
		setenv(t, "CRMINTAKE_SUBJECT", string(subject))
	}
}

// created counts the rows.
func created(t *testing.T) (n int64) {
	t.Helper()
	var report statusReport
	crmintake(t, "", "status", "--output", "json").json(t, &report)
	if report.Status == nil {
		t.Fatalf("%+v", report)
	}
	for _, e := range report.Events {
		if e.Status == "created" {
			n += e.Events
		}
	}
	return n
}

// What check and init say to type does what they say: the finding is gone then, and all events, of before and after,
// arrive.
func TestAdviceAsTyped(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	a := newAdviser(t, server.URL(), js)
	old := func(s *jetstream.StreamConfig) { s.Discard = jetstream.DiscardOld }
	for name, one := range map[string]advised{
		"no ack": {says: "confirms nothing", stream: func(s *jetstream.StreamConfig) { s.NoAck = true }},
		"memory": {says: "is in memory",
			stream: func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }},
		"async": {says: "before they are written",
			stream: func(s *jetstream.StreamConfig) { s.PersistMode = jetstream.AsyncPersistMode }},
		"TTL":    {says: "(Nats-TTL)", stream: func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true }},
		"rollup": {says: "(Nats-Rollup)", stream: func(s *jetstream.StreamConfig) { s.AllowRollup = true }},
		"markers": {says: "puts a marker",
			stream: func(s *jetstream.StreamConfig) { s.SubjectDeleteMarkerTTL = time.Hour }},
		"schedules": {says: "takes schedules",
			stream: func(s *jetstream.StreamConfig) { old(s); s.AllowMsgSchedules = true }},
		"messages": {says: "beyond 100 messages", stream: func(s *jetstream.StreamConfig) { old(s); s.MaxMsgs = 100 }},
		"bytes": {says: "beyond 100000 bytes",
			stream: func(s *jetstream.StreamConfig) { old(s); s.MaxBytes = 100_000 }},
		"messages, with schedules": {says: "beyond 100 messages", stream: func(s *jetstream.StreamConfig) {
			old(s)
			s.AllowMsgSchedules, s.MaxMsgs = true, 100
		}},
		"bytes, with schedules": {says: "beyond 100000 bytes", stream: func(s *jetstream.StreamConfig) {
			old(s)
			s.AllowMsgSchedules, s.MaxBytes = true, 100_000
		}},
		"subject, with schedules": {says: "events of a subject", stream: func(s *jetstream.StreamConfig) {
			old(s)
			s.AllowMsgSchedules, s.MaxMsgsPerSubject = true, 100
		}},
		"subject": {says: "events of a subject",
			stream: func(s *jetstream.StreamConfig) { old(s); s.MaxMsgsPerSubject = 100 }},
		"subject, new": {says: "events of a subject",
			stream: func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 100 }},
		"age": {says: "after 1h0m0s", stream: func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour }},
		"consumers": {says: "limited to 2 consumers",
			stream: func(s *jetstream.StreamConfig) { s.MaxConsumers = 2 }},
		"inactive limit": {says: "removes consumers",
			stream: func(s *jetstream.StreamConfig) { s.ConsumerLimits.InactiveThreshold = time.Hour }},
		"in hand, stream": {says: "lets a consumer have at most 500",
			stream:   func(s *jetstream.StreamConfig) { s.ConsumerLimits.MaxAckPending = 500 },
			consumer: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 500 }},
		"transform": {says: "as made.>", stream: func(s *jetstream.StreamConfig) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "crm.create.>", Destination: "made.>"}
		}},
		"subjects": {says: "takes the subjects other.x", stream: func(s *jetstream.StreamConfig) {
			s.Subjects = []string{"other.x", "crm.create.contracts"}
		}, consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "crm.create.contracts" }},
		"filter": {says: "and not only",
			stream:   func(s *jetstream.StreamConfig) { s.Subjects = []string{"crm.>"} },
			consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "crm.>" }},
		"narrow filter": {says: "other events wait",
			consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "crm.create.tickets" }},
		"priorities": {says: "priority groups", consumer: func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"a"}
		}},
		"ack policy": {says: "ack policy",
			stream:   func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy },
			consumer: func(c *jetstream.ConsumerConfig) { c.AckPolicy, c.MaxAckPending = jetstream.AckAllPolicy, 0 }},
		"headers": {says: "headers only", consumer: func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }},
		"max deliver": {says: "3 times at most", consumer: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 },
			then: strandAll},
		"raised": {says: "delivered to nobody any more",
			consumer: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 }, then: func(t *testing.T, a *adviser) {
				strandAll(t, a)
				c, err := a.js.Consumer(t.Context(), "CRM_EVENTS", "crmintake")
				if err != nil {
					t.Fatal(err)
				}
				cfg := c.CachedInfo().Config
				cfg.MaxDeliver = -1
				if _, err := a.js.UpdateConsumer(t.Context(), "CRM_EVENTS", cfg); err != nil {
					t.Fatal(err)
				}
			}},
		"in hand": {says: "at most 500", consumer: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 500 }},
		"backoff": {says: "(backoff)", consumer: func(c *jetstream.ConsumerConfig) {
			c.BackOff = []time.Duration{5 * time.Second, time.Minute}
		}},
		"consumer in memory": {says: "of stream CRM_EVENTS is in memory",
			consumer: func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true }},
		"inactive": {says: "disappears",
			consumer: func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour }},
		"replay": {says: "at the speed",
			consumer: func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy }},
		"policy": {says: "deliver policy",
			stream:   func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy },
			consumer: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverLastPolicy }},
		"paused": {says: "is paused", consumer: func(c *jetstream.ConsumerConfig) {
			until := time.Now().Add(time.Hour)
			c.PauseUntil = &until
		}},
		"push": {says: "a push consumer",
			consumer: func(c *jetstream.ConsumerConfig) { c.DeliverSubject = "to.me" }},
		"no consumer": {says: "has no consumer", then: func(t *testing.T, a *adviser) {
			a.remove(t,
				"crmintake")
		}},
		"ack wait": {says: "ack wait of 7s", init: true,
			consumer: func(c *jetstream.ConsumerConfig) { c.AckWait = 7 * time.Second }},
		"ack wait, backoff": {says: "after 7s (backoff)", init: true,
			consumer: func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{7 * time.Second} }},
	} {
		t.Run(name, func(t *testing.T) {
			stream := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
				Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew}
			consumer := jetstream.ConsumerConfig{Durable: "crmintake", FilterSubject: "crm.create.>",
				AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, AckWait: time.Minute}
			if one.stream != nil {
				one.stream(&stream)
			}
			if one.consumer != nil {
				one.consumer(&consumer)
			}
			st, err := a.js.CreateStream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = a.js.DeleteStream(t.Context(), "CRM_EVENTS") }()
			if consumer.BackOff != nil {
				consumer.AckWait = 0
			}
			if consumer.DeliverSubject != "" {
				_, err = st.CreatePushConsumer(t.Context(), consumer)
			} else {
				_, err = st.CreateConsumer(t.Context(), consumer)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := created(t)
			id := strings.ReplaceAll(name, " ", "-")
			a.publish(t, id+"-1", id+"-2", id+"-3")
			if one.then != nil {
				one.then(t, a)
			}
			texts := a.say(t, one)
			i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(text, one.says) })
			if i < 0 {
				t.Fatalf("nothing says %q: %q", one.says, texts)
			}
			a.typeIn(t, texts[i])
			for _, text := range a.say(t, one) {
				if strings.Contains(text, one.says) {
					t.Errorf("it still says: %s", text)
				}
			}
			a.publish(t, id+"-4", id+"-5", id+"-6")
			crmintake(t, "", "run", "--drain").want(t, 0)
			if n := created(t) - before; n != 6 {
				t.Errorf("%d of 6 events arrived", n)
			}
		})
	}
}

// oneServer is the answer to what only a cluster can do, which is well typed.
const oneServer = "replicas > 1 not supported in non-clustered mode (10074)"

// The commands of nats that the documents give are typed, too.
func TestDocumentsTyped(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	newAdviser(t, server.URL(), js)
	typed := 0
	for _, d := range documents(t) {
		// A command ends with its line, unless the line ends with a backslash.
		for _, m := range regexp.MustCompile("(?m)(?:^|`)(nats (?:[^`\n\\\\]|\\\\\n?)+)").FindAllStringSubmatch(d.text, -1) {
			typed++
			crmintake(t, "", "init").want(t, 0)
			bash := exec.CommandContext(t.Context(), "bash", "-c", m[1])
			bash.Env = environmentIn(t).List()
			if said, err := bash.CombinedOutput(); err != nil && !bytes.Contains(said, []byte(oneServer)) {
				t.Errorf("%s: %s: %v\n%s", d.path, m[1], err, said)
			}
		}
	}
	crmintake(t, "", "init").want(t, 0)
	stream, err := js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil || typed < 3 || stream.CachedInfo().State.Msgs != 1 { // what worker/event/README.md publishes
		t.Errorf("%d commands were typed; %v, %+v", typed, err, stream.CachedInfo().State)
	}
}

// strandAll has the consumer give up on all that there is.
func strandAll(t *testing.T, a *adviser) {
	c, err := a.js.Consumer(t.Context(), "CRM_EVENTS", "crmintake")
	if err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(10 * time.Second); ; {
		batch, err := c.Fetch(10, jetstream.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			if err := m.Nak(); err != nil {
				t.Fatal(err)
			}
		}
		info, err := c.Info(t.Context())
		if err != nil || time.Now().After(limit) {
			t.Fatal(fmt.Errorf("it goes on: %+v %w", info, err))
		}
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return
		}
	}
}

func (a *adviser) remove(t *testing.T, consumer string) {
	t.Helper()
	if err := a.js.DeleteConsumer(t.Context(), "CRM_EVENTS", consumer); err != nil {
		t.Fatal(err)
	}
}
