package jetstream

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func FuzzAckSubject(f *testing.F) {
	for _, subject := range []string{
		"$JS.ACK.CRM_EVENTS.crmintake.1.4711.12.1767225600123456789.7",
		"$JS.ACK.hub.ACCHASH.CRM_EVENTS.crmintake.3.4711.12.1767225600123456789.7",
		"$JS.ACK._.ACCHASH.CRM_EVENTS.crmintake.3.4711.12.1767225600123456789.7.token.and.more",
		"$JS.ACK.CRM_EVENTS.crmintake.1.4711.12.1767225600123456789", "$JS.ACK.h.CRM_EVENTS.crmintake.1.2.3.4.5", "$JS.ACK.", "",
		"$JS.ACK.S.C.x.2.3.4.5", "$JS.ACK.S.C.1.-2.3.4.5", "$JS.ACK.S.C.+1.2.3.4.5", "$JS.ACK.S.C.1..3.4.5",
		"$JS.ACK.S.C.1.99999999999999999999.3.4.5", "$JS.ACK.S.C.1.9223372036854775807.3.2000000000000000000.5", "$JS.ACK.S.C.1.9223372036854775808.3.4.5", "$JS.NAK.S.C.1.2.3.4.5", "$JS.ACK.S.C.1.2.3.4.x",
	} {
		f.Add(subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		got, ok := parseAckSubject(subject)
		if !ok {
			return
		}
		m := &nats.Msg{Reply: subject, Sub: &nats.Subscription{}}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatalf("taken, though %v", err)
		}
		want := metadata{meta.Stream, meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(metadata{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAckSubject(t *testing.T) {
	want := metadata{stream: "CRM_EVENTS", seq: 4711, deliveries: 3, at: time.Unix(0, 1767225600123456789)}
	for _, subject := range []string{
		"$JS.ACK.CRM_EVENTS.crmintake.3.4711.12.1767225600123456789.7",
		"$JS.ACK.hub.ACCHASH.CRM_EVENTS.crmintake.3.4711.12.1767225600123456789.7",
		"$JS.ACK._.ACCHASH.CRM_EVENTS.crmintake.3.4711.12.1767225600123456789.7.token",
	} {
		if got, ok := parseAckSubject(subject); !ok || got != want {
			t.Errorf("%s: %+v, %v", subject, got, ok)
		}
	}
	// The year 2262 is the last one that the server's times can tell of.
	if got, ok := parseAckSubject("$JS.ACK.S.C.1.2.3.9223372036854775807.5"); !ok || got.at.UnixNano() != math.MaxInt64 {
		t.Errorf("the last moment: %+v, %v", got, ok)
	}
	// What is odd is the client's to judge.
	for _, subject := range []string{"$JS.ACK.h.S.C.1.2.3.4.5", "$JS.ACK.S.C.1.2.3.4", "$JS.ACK.S.C.x.2.3.4.5", "$JS.ACK.S.C.1.-2.3.4.5", "_INBOX.1"} {
		if got, ok := parseAckSubject(subject); ok {
			t.Errorf("%s: %+v", subject, got)
		}
	}
}
