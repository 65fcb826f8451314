package hubspot

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// A form is found wherever bytes.Contains finds it, above all in texts of its own letters.
func TestFormIsFound(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	draw := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abc\xff"[random.IntN(4)]
		}
		return b
	}
	found := 0
	for range 200_000 {
		text, token := draw(random.IntN(60)), draw(1+random.IntN(9))
		f := newForm(string(token))
		want := bytes.Contains(text, token)
		if f.in(text) != want {
			t.Fatalf("%q in %q: %v", token, text, !want)
		}
		if want {
			found++
		}
	}
	if found < 10_000 {
		t.Errorf("only %d were there: the test says little", found)
	}
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("xxpat-na1-0-pat-na1-1"), "at-na1-1")
	f.Fuzz(func(t *testing.T, text []byte, rest string) {
		token := "p" + rest // a form is never empty
		form := newForm(token)
		if want := bytes.Contains(text, []byte(token)); form.in(text) != want {
			t.Errorf("%q in %q: %v", token, text, !want)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	_, body := contracts()
	for name, token := range map[string]string{"usual": "pat-na1-00000000-0000-0000-0000-000000000000", "escaped": strings.Repeat("a/b=", 40)} {
		b.Run(name, func(b *testing.B) {
			hide := newRedactor(token)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				hide.bytes(body)
			}
		})
	}
}
