package hubspot

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever stands around a secret, in whichever form, the secret is gone afterwards.
func FuzzRedactor(f *testing.F) {
	f.Add([]byte("xxpat-na1-0-"), "at-na1-1", []byte("pat-na1-1"))
	f.Add([]byte("{\"a\":\""), "/b=c", []byte("\"}"))
	f.Fuzz(func(t *testing.T, before []byte, rest string, after []byte) {
		if strings.ContainsAny(rest, "[]") {
			return // what stands in a secret's place could make up another one
		}
		secret := "secret" + rest
		hide := newRedactor(secret)
		for _, form := range hide.forms {
			text := append(append(bytes.Clone(before), form...), after...)
			if got := hide.bytes(text); bytes.Contains(got, []byte(form)) {
				t.Errorf("%q in %q", form, got)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	_, body := contracts()
	for name, token := range map[string]string{
		"usual": "pat-na1-00000000-0000-0000-0000-000000000000", "escaped": strings.Repeat("a/b=", 40),
	} {
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
