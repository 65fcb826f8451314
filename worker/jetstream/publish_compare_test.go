package jetstream

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/deploy/local"
)

// forgetAfter gives the stream another duplicate window.
func (e *env) forgetAfter(t *testing.T, window time.Duration) {
	t.Helper()
	stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = window
	if _, err := e.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func publishAll(t *testing.T, p *Publisher, list ...Message) {
	t.Helper()
	for i, m := range list {
		m.Line = i + 1
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What the stream drops for its id is compared with what it has: only the same event counts as a duplicate.
func TestPublishOtherContentUnderAnID(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.forgetAfter(t, time.Minute)
	var told []string
	p := openPublisher(t, e, PublisherConfig{Dropped: func(line int, id string, why error) {
		told = append(told, fmt.Sprint(line, " ", id, " ", why))
	}})
	contact := Message{Subject: "crm.create.contacts", ID: "a", Data: []byte("one")}
	deal := Message{Subject: "crm.create.deals", ID: "a", Data: []byte("one")}
	other := Message{Subject: "crm.create.contacts", ID: "a", Data: []byte("other")}
	publishAll(t, p, contact, contact, deal, other, Message{Subject: "crm.create.deals", ID: "b", Data: []byte("one")},
		contact)
	if diff := cmp.Diff(Progress{Confirmed: 4, Duplicates: 2, Dropped: 2, Line: 6}, p.Progress()); diff != "" {
		t.Error(diff)
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "3 a ") || !strings.HasPrefix(told[1], "4 a ") {
		t.Fatalf("%q", told)
	}
	contains(t, told[0], "another event under this id, of crm.create.contacts", "begins with its object type")
	settled(t, s, 2, 0)

	p = openPublisher(t, e, PublisherConfig{})
	err := p.Publish(t.Context(), deal)
	if err == nil {
		err = p.Flush(t.Context())
	}
	if err == nil {
		t.Fatal("another event's id, and no error")
	}
	contains(t, err.Error(), `(id "a"): the stream CRM_EVENTS has another event under this id`)
}

// So it is with many at once, as of a file that was published before under these ids.
func TestPublishManyUnderOthersIDs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.init(t, InitConfig{})
	e.forgetAfter(t, time.Minute)
	const total = 6000 // more than a window
	list := func(objectType string, other int) (all []Message) {
		for i := range total {
			text := "content"
			if i < other {
				text = "other"
			}
			all = append(all, Message{Subject: "crm.create." + objectType, ID: fmt.Sprint("e", i), Data: []byte(text)})
		}
		return all
	}
	dropped := 0
	p := openPublisher(t, e, PublisherConfig{Dropped: func(int, string, error) { dropped++ }})
	publishAll(t, p, list("contacts", 0)...)
	publishAll(t, p, list("contacts", 100)...)
	publishAll(t, p, list("deals", 0)...)
	want := Progress{Confirmed: 2*total - 100, Duplicates: total - 100, Dropped: total + 100, Line: total}
	if diff := cmp.Diff(want, p.Progress()); diff != "" || dropped != total+100 {
		t.Errorf("told of %d\n%s", dropped, diff)
	}
	settled(t, s, total, 0)
}

// What a worker took meanwhile can't be compared. Past a short window the message is published again, for the outbox to
// compare; a long one is not waited for.
func TestPublishUnderAnIDThatWasTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window time.Duration
		want   Progress
		stored int
		told   string
	}{
		"short": {DuplicateWindow, Progress{Confirmed: 1, Line: 1}, 1, ""},
		"long": {2 * time.Minute, Progress{Dropped: 1, Line: 1}, 0, "is not known; publish it again when 2m0s are " +
			"over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			s := e.init(t, InitConfig{})
			e.forgetAfter(t, c.window)
			publishAll(t, openPublisher(t, e, PublisherConfig{}), Message{Subject: "crm.create.deals", ID: "a",
				Data: []byte("one")})
			if err := fetch(t, s, 1)[0].Message.Ack(); err != nil {
				t.Fatal(err)
			}
			stream, err := e.js.Stream(t.Context(), "CRM_EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			for limit := time.Now().Add(patience); ; {
				info, err := stream.Info(t.Context())
				if err != nil || time.Now().After(limit) {
					t.Fatal("it is not taken", err)
				}
				if info.State.Msgs == 0 {
					break
				}
			}
			told := ""
			p := openPublisher(t, e, PublisherConfig{Dropped: func(_ int, _ string, why error) { told = why.Error() }})
			publishAll(t, p, Message{Subject: "crm.create.deals", ID: "a", Data: []byte("other")})
			if diff := cmp.Diff(c.want, p.Progress()); diff != "" {
				t.Error(diff)
			}
			contains(t, told, c.told)
			settled(t, s, c.stored, 0)
		})
	}
}

// Who may not read the stream's messages hears of it.
func TestPublishBlind(t *testing.T) {
	t.Parallel()
	allowed := []string{"crm.create.>", "$JS.API.STREAM.INFO.CRM_EVENTS"}
	const get = "$JS.API.STREAM.MSG.GET.CRM_EVENTS"
	for look, want := range map[string]string{get: "", "other": "let this user publish to " + get} {
		t.Run(look, func(t *testing.T) {
			t.Parallel()
			e := newEnvWith(t, local.NATSConfig{Options: func(o *server.Options) {
				o.Users = []*server.User{{Username: "publisher", Password: "secret", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: append(slices.Clone(allowed), look)},
					Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				}}, {Username: "admin", Password: "secret"}}
				o.NoAuthUser = "admin"
			}})
			e.init(t, InitConfig{})
			e.forgetAfter(t, time.Minute)
			nc, err := Connect(strings.Replace(e.server.URL(), "nats://", "nats://publisher:secret@", 1), "publisher",
				slog.New(slog.NewTextHandler(e.log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			told, n := "", 0
			p, err := OpenPublisher(t.Context(), nc, PublisherConfig{Dropped: func(_ int, _ string, why error) {
				told, n = why.Error(), n+1
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.confirmWait = 2 * time.Second
			m := Message{Subject: "crm.create.deals", ID: "a", Data: []byte("one")}
			publishAll(t, p, m, m, m)
			contains(t, told, want)
			if d := p.Progress(); d.Confirmed+n != 3 || d.Dropped != n || (n == 0) != (want == "") {
				t.Errorf("%+v, told of %d", d, n)
			}
		})
	}
}
