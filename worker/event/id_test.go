package event

import (
	"crmintake/worker"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// here is where the messages of these tests stand, which has the name hereName, and of older programs S:7.
var here = worker.Place{Stream: "S", Seq: 7, Published: time.Unix(1764348710, 123456789)}

const hereName = "S@1764348710123456789:7"

func TestEventID(t *testing.T) {
	for name, c := range map[string]struct {
		headers map[string]string
		id      string
		former  string
		fault   string // what invalid holds; "" for a good id
	}{
		"none":            {nil, hereName, "S:7", ""},
		"message id":      {map[string]string{"Nats-Msg-Id": "a", "ce-source": "s", "ce-id": "i"}, "a", "", ""},
		"CloudEvents":     {map[string]string{"ce-source": "/billing", "ce-id": "i"}, "/billing/i", "", ""},
		"slash in the id": {map[string]string{"ce-source": "/s", "ce-id": "eu/1%"}, "/s/eu%2F1%25", "/s/eu/1%", ""},
		"source alone":    {map[string]string{"ce-source": "s"}, hereName, "S:7", ""},
		"ce-id alone":     {map[string]string{"ce-id": "i"}, hereName, "S:7", ""},
		"longest":         {map[string]string{"Nats-Msg-Id": strings.Repeat("a", 256)}, strings.Repeat("a", 256), "", ""},
		"too long":        {map[string]string{"Nats-Msg-Id": strings.Repeat("a", 257)}, hereName, "S:7", "257 bytes"},
		"too long, joined": {map[string]string{"ce-source": strings.Repeat("a", 128), "ce-id": strings.Repeat("a", 128)},
			hereName, "S:7", "ce-source/ce-id has 257 bytes"},
		"too long now": {map[string]string{"ce-source": "s", "ce-id": strings.Repeat("/", 100)}, hereName,
			"s/" + strings.Repeat("/", 100), "302 bytes"},
		"NUL":           {map[string]string{"Nats-Msg-Id": "a\x00"}, hereName, "S:7", "control character at byte 1"},
		"line break":    {map[string]string{"Nats-Msg-Id": "ab\n"}, hereName, "S:7", "control character at byte 2"},
		"C1 control":    {map[string]string{"Nats-Msg-Id": "\u0085"}, hereName, "S:7", "control character"},
		"invalid UTF-8": {map[string]string{"Nats-Msg-Id": "\xff"}, hereName, "S:7", "not valid UTF-8"},
		"beyond ASCII":  {map[string]string{"Nats-Msg-Id": "é 😀"}, "é 😀", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, former, fault := ID(func(h string) (string, bool) { return c.headers[h], true }, here)
			if id != c.id || former != c.former || (fault == "") != (c.fault == "") || !strings.Contains(fault, c.fault) {
				t.Errorf("got %q, %q, %q; want %q, %q, %q", id, former, fault, c.id, c.former, c.fault)
			}
		})
	}
}

// Older programs did not know a header in other letters: to them the message was known by its place.
func TestEventIDByHeadersInOtherLetters(t *testing.T) {
	for _, headers := range []map[string]string{{"Nats-Msg-Id": "/s/1"}, {"ce-source": "/s", "ce-id": "1"}} {
		id, former, fault := ID(func(h string) (string, bool) { return headers[h], h == "ce-source" }, here)
		if id != "/s/1" || former != "S:7" || fault != "" {
			t.Errorf("%v: %q, %q, %q", headers, id, former, fault)
		}
	}
}

// No two pairs of source and id are joined alike, however much they look like parts of each other.
func TestJoinID(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		b := make([]byte, 1+random.IntN(4))
		for i := range b {
			b[i] = "/%2F5a"[random.IntN(6)]
		}
		return string(b)
	}
	seen := map[string][2]string{}
	for range 200_000 {
		pair := [2]string{text(), text()}
		id := JoinID(pair[0], pair[1])
		if other, ok := seen[id]; ok && other != pair {
			t.Fatalf("%q and %q are both %q", pair, other, id)
		}
		seen[id] = pair
	}
}

func TestPlace(t *testing.T) {
	if got := here.String(); got != hereName {
		t.Error(got)
	}
	for what, other := range map[string]worker.Place{
		"made anew":      {Stream: "S", Seq: 7, Published: here.Published.Add(1)},
		"at once":        {Stream: "S", Seq: 8, Published: here.Published},
		"another stream": {Stream: "S@1", Seq: 7, Published: here.Published},
	} {
		if other.String() == hereName {
			t.Errorf("%s: the same place", what)
		}
	}
}

func TestObjectTypeOf(t *testing.T) {
	for subject, want := range map[string]string{
		"crm.create.contacts":                    "contacts",
		"crm.create.0-721":                       "0-721",
		"crm.create.p1_Name":                     "p1_Name",
		"crm.create." + strings.Repeat("a", 100): strings.Repeat("a", 100),
		"crm.create." + strings.Repeat("a", 101): "",
		"crm.create.":                            "",
		"crm.create":                             "",
		"crm.create.a.b":                         "",
		"crm.create.a b":                         "",
		"crm.create.é":                           "",
		"crm.create.a\x00":                       "",
		"crm.update.deals":                       "",
		"":                                       "",
	} {
		got, fault := ObjectType(subject, "crm.create.")
		if got != want || (fault == "") != (want != "") || strings.ContainsRune(fault, 0) {
			t.Errorf("%q: got %q, %q; want %q", subject, got, fault, want)
		}
	}
}

func TestReusedID(t *testing.T) {
	if got := ReusedID("a", here); got != "a#"+hereName {
		t.Error(got)
	}
}

func TestContentHash(t *testing.T) {
	base := Hash("crm.create.a", []byte("b"))
	if base != Hash("crm.create.a", []byte("b")) {
		t.Error("the same content gives different hashes")
	}
	for _, other := range [][2]string{{"crm.create.", "ab"}, {"crm.create.ab", ""}, {"crm.create.a", "b "},
		{"crm.create.a", "B"}, {"", "crm.create.ab"}} {
		if Hash(other[0], []byte(other[1])) == base {
			t.Errorf("%q has the same hash", other)
		}
	}
	long := strings.Repeat("s", 10_000)
	if Hash(long, nil) == Hash(long+"s", nil) {
		t.Error("long subjects have the same hash")
	}
}

func BenchmarkContentHash(b *testing.B) {
	payload := []byte(usualEvent)
	b.ReportAllocs()
	for b.Loop() {
		Hash("crm.create.contracts", payload)
	}
}
