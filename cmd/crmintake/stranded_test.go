package main

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/outbox/outboxtest"
)

// Events that a consumer gave up on, and of which it says nothing any more, are told by status and check; and no drain
// ends without them.
func TestStranded(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	setenv(t, "CRMINTAKE_HUBSPOT_URL", account(t).URL)
	setenv(t, "CRMINTAKE_HUBSPOT_TOKEN", secret)
	setenv(t, "CRMINTAKE_ID_PROPERTY", "contracts=event_id")
	crmintake(t, "", "init").want(t, 0)
	crmintake(t, `{"properties":{"name":"a"}}`+"\n", "publish", "--object-type", "contracts", "-").want(t, 0)
	crmintake(t, "", "check").want(t, 0, "1 pending, 0 unacked")

	c, err := js.Consumer(t.Context(), "CRM_EVENTS", "crmintake")
	if err != nil {
		t.Fatal(err)
	}
	edited := c.CachedInfo().Config
	for _, most := range []int{1, -1} {
		edited.MaxDeliver = most
		if _, err := js.UpdateConsumer(t.Context(), "CRM_EVENTS", edited); err != nil {
			t.Fatal(err)
		}
		for limit := time.Now().Add(10 * time.Second); c.CachedInfo().NumPending+uint64(c.CachedInfo().NumAckPending) > 0; {
			batch, err := c.Fetch(1, jetstream.FetchMaxWait(100*time.Millisecond))
			if err != nil || time.Now().After(limit) {
				t.Fatal(err)
			}
			for m := range batch.Messages() {
				if err := m.Nak(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Info(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	what := "1 events of the stream CRM_EVENTS are delivered to nobody any more"
	crmintake(t, "", "check").want(t, 1, "0 pending, 0 unacked", what, "type 'nats consumer rm CRM_EVENTS crmintake "+
		"--force'")
	crmintake(t, "", "status").want(t, 0, "0 pending, 0 unacked",
		"in trouble: 1 event of the stream will be delivered to nobody", what)
	crmintake(t, "", "run", "--drain").want(t, 0, "created=1")
	crmintake(t, "", "check").want(t, 0)
}
