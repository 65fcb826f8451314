package view

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	t.Parallel()
	build := func() *Table {
		tab := NewTable(Column{Title: "EVENT", Fit: true}, Column{Title: "N", Right: true}, Column{Title: "ERROR", Fit: true})
		tab.Row("a", 7, "short")
		tab.Row("an event's id", Grouped(1234567), Red.Cell("日本語 and a tab\tand\x1b[2J more than fits"))
		tab.Row("b", "", "")
		return tab
	}
	print := func(tab *Table, s Screen) string {
		t.Helper()
		var b strings.Builder
		if err := tab.Print(&b, s); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const wide = "" +
		"EVENT                  N  ERROR\n" +
		"a                      7  short\n" +
		"an event's id  1,234,567  日本語 and a tab and\uFFFD[2J more than fits\n" +
		"b\n"
	if got := print(build(), Screen{}); got != wide {
		t.Errorf("got\n%s\nwant\n%s", got, wide)
	}
	const narrow = "" +
		"EVENT                  N  ERROR\n" +
		"a                      7  short\n" +
		"an event's id  1,234,567  日本語 and a…\n" +
		"b\n"
	if got := print(build(), Screen{Width: 39}); got != narrow {
		t.Errorf("got\n%s\nwant\n%s", got, narrow)
	}
	for _, line := range strings.Split(print(build(), Screen{Width: 10}), "\n") {
		if strings.Contains(line, "short") && !strings.Contains(line, "7") {
			t.Error("a number is cut: " + line)
		}
	}
	coloured := print(build(), Screen{Colour: true})
	if !strings.Contains(coloured, "\x1b[31m日本語") || !strings.Contains(coloured, "\x1b[1mEVENT\x1b[0m") ||
		strings.Contains(coloured, "\x1b[2J") {
		t.Errorf("%q", coloured)
	}
}

func TestForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100",
		1234567: "1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", time.Hour - 1: "59m",
		47 * time.Hour: "47h", 48 * time.Hour: "2d"} {
		if got := Short(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
	for s, want := range map[string]string{"S:1": "S:1", "c d": "'c d'", "it's": `'it'\''s'`, "": "''", "a;b": "'a;b'"} {
		if got := Quoted(s); got != want {
			t.Errorf("%s: %s", s, got)
		}
	}
}

// Long texts are broken between words; only what has none is cut in two, and nothing is left out.
func TestWrapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}}, {"a b", 0, []string{"a b"}}, {"one two  three", 7, []string{"one two", "three"}},
		{"日本語 日本語", 7, []string{"日本語", "日本語"}}, {"a abcdefghijk b", 4, []string{"a", "abcd", "efgh", "ijk", "b"}},
		{"type 'x'\x1b[2J", 20, []string{"type 'x'\uFFFD[2J"}},
	} {
		if got := wrapped(c.text, c.width); !slices.Equal(got, c.want) {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
	var b strings.Builder
	Screen{Width: 20}.Indented(&b, Plain, "  do: ", "type this and then that")
	if got := b.String(); got != "  do: type this and\n      then that\n" {
		t.Errorf("%q", got)
	}
}
