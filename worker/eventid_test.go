package worker

import (
	"strings"
	"testing"
)

func TestEventID(t *testing.T) {
	for name, c := range map[string]struct {
		headers map[string]string
		id      string
		fault   string // what invalid holds; "" for a good id
	}{
		"none":             {nil, "S:7", ""},
		"message id":       {map[string]string{"Nats-Msg-Id": "a", "ce-source": "s", "ce-id": "i"}, "a", ""},
		"CloudEvents":      {map[string]string{"ce-source": "/billing", "ce-id": "i"}, "/billing/i", ""},
		"source alone":     {map[string]string{"ce-source": "s"}, "S:7", ""},
		"ce-id alone":      {map[string]string{"ce-id": "i"}, "S:7", ""},
		"longest":          {map[string]string{"Nats-Msg-Id": strings.Repeat("a", 256)}, strings.Repeat("a", 256), ""},
		"too long":         {map[string]string{"Nats-Msg-Id": strings.Repeat("a", 257)}, "S:7", "257 bytes"},
		"too long, joined": {map[string]string{"ce-source": strings.Repeat("a", 128), "ce-id": strings.Repeat("a", 128)}, "S:7", "ce-source/ce-id has 257 bytes"},
		"NUL":              {map[string]string{"Nats-Msg-Id": "a\x00"}, "S:7", "control character at byte 1"},
		"line break":       {map[string]string{"Nats-Msg-Id": "ab\n"}, "S:7", "control character at byte 2"},
		"C1 control":       {map[string]string{"Nats-Msg-Id": "\u0085"}, "S:7", "control character"},
		"invalid UTF-8":    {map[string]string{"Nats-Msg-Id": "\xff"}, "S:7", "not valid UTF-8"},
		"beyond ASCII":     {map[string]string{"Nats-Msg-Id": "é 😀"}, "é 😀", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, fault := EventID(func(h string) string { return c.headers[h] }, "S", 7)
			if id != c.id || (fault == "") != (c.fault == "") || !strings.Contains(fault, c.fault) {
				t.Errorf("got %q, %q; want %q, %q", id, fault, c.id, c.fault)
			}
		})
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
		got, fault := ObjectTypeOf(subject, "crm.create.")
		if got != want || (fault == "") != (want != "") || strings.ContainsRune(fault, 0) {
			t.Errorf("%q: got %q, %q; want %q", subject, got, fault, want)
		}
	}
}

func TestReusedID(t *testing.T) {
	if got := ReusedID("a", "S", 7); got != "a#S:7" {
		t.Error(got)
	}
}

func TestContentHash(t *testing.T) {
	base := ContentHash("crm.create.a", []byte("b"))
	if base != ContentHash("crm.create.a", []byte("b")) {
		t.Error("the same content gives different hashes")
	}
	for _, other := range [][2]string{{"crm.create.", "ab"}, {"crm.create.ab", ""}, {"crm.create.a", "b "}, {"crm.create.a", "B"}, {"", "crm.create.ab"}} {
		if ContentHash(other[0], []byte(other[1])) == base {
			t.Errorf("%q has the same hash", other)
		}
	}
	long := strings.Repeat("s", 10_000)
	if ContentHash(long, nil) == ContentHash(long+"s", nil) {
		t.Error("long subjects have the same hash")
	}
}

func BenchmarkContentHash(b *testing.B) {
	payload := []byte(usualEvent)
	b.ReportAllocs()
	for b.Loop() {
		ContentHash("crm.create.contracts", payload)
	}
}
