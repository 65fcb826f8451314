package plainjson

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// plain is taken whole, and other is declined though some of it is JSON.
var (
	plain = []string{
		`{}`, `[]`, `""`, `0`, `-0`, `10`, `1.50`, `-1e9`, `1E+05`, `2.0e-7`, `true`, `false`, `null`,
		` { "a" : [ 1 , "b" ] } `,
		`{"a":{"b":[{"c":null}]},"d":"é and more than eight bytes"}`, `"a \"quoted\" word, \\ \/ \b\f\n\r\t"`, "\"\x7f\"",
		`{"":""}`,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
	}
	other = []string{
		``, ` `, `{`, `}`, `[`, `[1`, `[1,`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1]`, `[1}`,
		`{"a":1`, `{1:1}`,
		`01`, `-`, `+1`, `.5`, `1.`, `1.e1`, `1e`, `1e+`, `0x1`, `tru`, `nul`, `True`, `truer`, `"`, `"a`, `"\`, `"\"`,
		`"\x"`, `"\u0041"`,
		"\"\n\"", "\"12345678\x1f\"", "\"\x00\"", "\x00", "{}\x00", `{} {}`, `""""`, "\u00a0{}",
		strings.Repeat("[", 2*maxDepth) + strings.Repeat("]", 2*maxDepth),
	}
)

func takes(text string) bool {
	s := Scanner{Text: []byte(text)}
	return s.Skip() && s.End()
}

func TestSkip(t *testing.T) {
	for _, text := range plain {
		if !takes(text) {
			t.Errorf("%q is not taken", text)
		}
	}
	for _, text := range other {
		if takes(text) {
			t.Errorf("%q is taken", text)
		}
	}
}

// What is taken is JSON, wherever the text has changed.
func TestNothingElseIsTaken(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const bytes = "{}[]\",:\\ntrue-+.eE019 \n\x00\x1f\x80a"
	taken := 0
	for range 300_000 {
		text := []byte(plain[random.IntN(len(plain))])
		for range 1 + random.IntN(3) {
			at := random.IntN(len(text) + 1)
			b := bytes[random.IntN(len(bytes))]
			switch {
			case at == len(text):
				text = append(text, b)
			case random.IntN(2) == 0:
				text[at] = b
			default:
				text = append(text[:at], text[at+1:]...)
			}
		}
		if !takes(string(text)) {
			continue
		}
		taken++
		if !json.Valid(text) {
			t.Fatalf("%q is taken", text)
		}
	}
	if taken < 10_000 {
		t.Errorf("only %d texts were taken: the test says little", taken)
	}
}

func TestScalarsAndNames(t *testing.T) {
	s := Scanner{Text: []byte(` "a b" : -1.5e3 , "c" :"d\"e" `)}
	name, ok := s.Name()
	value, ok2 := s.Scalar()
	if string(name) != `"a b"` || string(value) != "-1.5e3" || !ok || !ok2 || !s.Next(',') {
		t.Errorf("%s: %s, at %d", name, value, s.At)
	}
	name, ok = s.Name()
	value, ok2 = s.Scalar()
	if string(name) != `"c"` || string(value) != `"d\"e"` || !ok || !ok2 || !s.End() {
		t.Errorf("%s: %s, at %d", name, value, s.At)
	}
	s = Scanner{Text: []byte(`"a\n":1`)}
	if name, ok := s.Name(); ok {
		t.Errorf("a name with an escape: %s", name)
	}
}

// Each byte, at each place in a string, is what it is by the grammar.
func TestEachByte(t *testing.T) {
	for n := range 20 {
		for c := range 256 {
			text := `"` + strings.Repeat("x", n) + string([]byte{byte(c)}) + strings.Repeat("\xff", 9) + `"`
			if want := c >= ' ' && c != '"' && c != '\\'; takes(text) != want {
				t.Errorf("byte %#x after %d others: taken is %v", c, n, !want)
			}
		}
	}
}

func FuzzSkip(f *testing.F) {
	for _, text := range append(plain, other...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if takes(text) && !json.Valid([]byte(text)) {
			t.Errorf("%q is taken", text)
		}
	})
}
