package jetstream

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
)

// An event is found where it waits, past what was taken and past others' subjects, and with what is before it.
func TestFind(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stream, err := e.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.>"}})
	if err != nil {
		t.Fatal(err)
	}
	f := finder{step: 16, atOnce: 16}
	many := 2*f.atOnce*f.step + 10
	for n := range many {
		subject := "crm.create.deals"
		if n%10 == 0 {
			subject = "crm.other"
		}
		if _, err := e.js.PublishAsync(subject, []byte(`{}`), jetstream.WithMsgID(fmt.Sprint("n", n))); err != nil {
			t.Fatal(err)
		}
		if n%1000 == 999 || n == many-1 { // it may have 4,000 on the way
			<-e.js.PublishAsyncComplete()
		}
	}
	for seq := uint64(1); seq <= 20; seq++ { // eighteen events, n1 to n19
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg(t.Context(), 24); err != nil { // n23
		t.Fatal(err)
	}
	last := fmt.Sprint("n", many-1)
	got, err := f.find(t.Context(), e.nc, Config{}, []string{"n25", last, "n5", "n23", "n30"}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	events := many - (many+9)/10 - 18 - 1
	want := Search{Looked: events, All: many - 21, Ended: true, Found: []Waiting{
		{ID: "n25", ObjectType: "deals", Seq: 26, Before: 3}, {ID: last, ObjectType: "deals", Seq: uint64(many),
			Before: events - 1},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Waiting{}, "Published")); diff != "" {
		t.Error(diff)
	}
	for _, found := range got.Found {
		if found.Published.IsZero() {
			t.Errorf("%+v", found)
		}
	}
	// It reports where it stopped, and stops once it has all.
	got, err = f.find(t.Context(), e.nc, Config{}, []string{"n25", last}, 100)
	if err != nil || got.Ended || len(got.Found) != 1 || got.Looked < 100 || got.Looked > f.atOnce*f.step {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = f.find(t.Context(), e.nc, Config{}, []string{"n25"}, 1_000_000)
	if err != nil || !got.Ended || len(got.Found) != 1 || got.Looked > f.atOnce*f.step {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.find(t.Context(), e.nc, Config{Stream: "OTHER"}, []string{"a"}, 100); err == nil {
		t.Error("there is no such stream")
	}
}

// A CloudEvent in structured mode has its id in its envelope.
func TestFindCloudEvent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, err := e.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"crm.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"properties":{}}`,
		`{"specversion":"1.0","source":"/orders","id":"7","data":{"properties":{}}}`} {
		if _, err := e.js.Publish(t.Context(), "crm.create.deals", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Find(t.Context(), e.nc, Config{}, []string{"/orders/7"}, 100)
	if err != nil || len(got.Found) != 1 || got.Found[0].Seq != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}
