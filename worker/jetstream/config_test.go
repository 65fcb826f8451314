package jetstream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, good := range []Config{{}, {Subject: "a.*"}, {Subject: "a.b.c.>"}, {Stream: "a-b_c"}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Config{
		{Subject: "crm.create"}, {Subject: "crm.*.>"}, {Subject: "crm.>.a"}, {Subject: ">"}, {Subject: "*"},
		{Subject: "crm.>>"},
		{Subject: "crm*"}, {Subject: "a b.>"}, {Subject: ".>"}, {Subject: "a..>"}, {Subject: ".a.>"},
		{Stream: "a.b"}, {Stream: "a b"}, {Consumer: "a*"}, {Consumer: "a\n"}, {Consumer: "a/b"},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if p := (Config{}).Prefix(); p != "crm.create." {
		t.Errorf("prefix %q", p)
	}
}

// The server knows best what its patterns mean.
func TestCoversAsTheServer(t *testing.T) {
	t.Parallel()
	pattern := rapid.Custom(func(t *rapid.T) string {
		tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 1, 4).Draw(t, "tokens")
		if rapid.Bool().Draw(t, "tail") {
			tokens = append(tokens, ">")
		}
		return strings.Join(tokens, ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		outer, inner := pattern.Draw(t, "outer"), pattern.Draw(t, "inner")
		if got, want := covers(outer, inner), server.SubjectMatchesFilter(inner, outer); got != want {
			t.Errorf("%s covers %s: %v, the server says %v", outer, inner, got, want)
		}
	})
}
