package jetstream

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStoredAs(t *testing.T) {
	t.Parallel()
	var got []string
	for _, destination := range []string{"made.>", "a.{{wildcard(1)}}.b", "a.$2.>", ""} {
		got = append(got, storedAs(destination))
	}
	if diff := cmp.Diff([]string{"made.>", "a.*.b", "a.*.>", ">"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.>", "a.b", true}, {"a.>", "b.>", false}, {"*.b", "a.*", true}, {"a.b", "a.b.c", false}, {"a.*", "a.b.c",
			false}, {">", "a", true}, {"a", "a", true},
	} {
		if overlap(c.a, c.b) != c.want || overlap(c.b, c.a) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
	if !slices.Equal([]string{quoted("a.>"), quoted("a-b_c.d"), quoted("$KV.`x`")}, []string{`"a.>"`, "a-b_c.d",
		"\"\\$KV.\\`x\\`\""}) {
		t.Error(quoted("a.>"), quoted("a-b_c.d"), quoted("$KV.`x`"))
	}
}
