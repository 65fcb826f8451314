package hubspot

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crmintake/worker"
)

// A token that is echoed is in nothing that an answer has.
func TestTokenIsHidden(t *testing.T) {
	echo := `{"id":"1","objectWriteTraceId":"ta","url":"u` + marker + `","warnings":["` + marker + `"]}`
	fault := `{"category":"` + marker + `","message":"` + strings.ReplaceAll(marker, "=", `\u003d`) +
		`","context":{"objectWriteTraceId":["tb"]}}`
	for status, body := range map[int]string{
		201: complete(`"results":[` + echo + `],"errors":[` + fault + `,` + strings.Replace(fault, "tb", "zz", 1) + `]`),
		200: marker,
		400: fault,
		401: `{"category":"INVALID_AUTHENTICATION","message":"` + marker + `","correlationId":"` + marker + `"}`,
		429: strings.Replace(`{"policyName":"T"}`, "T", marker, 1),
		302: ``,
		504: strings.NewReplacer("/", `\/`, "=", `\u003d`).Replace(marker),
		502: strings.Repeat("x", maxRaw-10) + strings.ReplaceAll(marker, "/", `\/`),
	} {
		header := http.Header{"Location": {"http://" + marker}, "Content-Type": {marker},
			"X-Hubspot-Correlation-Id": {marker}}
		c := client(t, fixed(status, header, body), func(c *Config) { c.Token = StaticToken(marker); c.KeepResult = true })
		a := c.Create(t.Context(), "contacts", three())
		read := c.Read(t.Context(), "contacts", "p", []string{"x"}, nil)
		said := []string{a.Call.Detail, a.Call.CorrelationID, string(a.Call.Raw), read.Call.Detail, string(read.Call.Raw)}
		for _, o := range a.Outcomes {
			said = append(said, o.RecordID, o.URL, string(o.Warnings), string(o.Result), o.Existing)
			for _, e := range o.Errors {
				said = append(said, e.Category, e.Message, string(e.Raw))
			}
		}
		if all := strings.Join(said, "\n"); strings.Contains(all, "MARKER") {
			t.Errorf("%d: %s", status, all)
		}
	}
	down := to(t, "http://127.0.0.1:1")
	down.cfg.Token = StaticToken(marker)
	if a := down.Create(t.Context(), "contacts", three()); strings.Contains(a.Call.Detail, "MARKER") {
		t.Error(a.Call.Detail)
	}
}

// A token that was never had sends nothing and pauses the account; a new one is used from the next call on, and the one
// before for as long as the file holds none.
func TestTokenRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	var got []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		w.WriteHeader(201)
		_, _ = io.WriteString(w, okBody)
	}, func(c *Config) { c.Token = NewFileToken(path) })
	versions := map[string]bool{}
	call := func(want worker.Class) {
		t.Helper()
		versions[c.CredentialVersion()] = true
		if a := c.Create(t.Context(), "contacts", three()); a.Class != want || strings.Contains(a.Call.Detail, "MARKER") {
			t.Errorf("class %v, want %v: %s", a.Class, want, a.Call.Detail)
		}
	}
	write := func(token string) {
		t.Helper()
		next := path + ".next"
		if err := os.WriteFile(next, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	call(worker.PauseAccount)
	write("first-token\n")
	call(worker.Answered)
	write("MARKER with a space")
	call(worker.Answered)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	call(worker.Answered)
	write("other-token")
	call(worker.Answered)
	if want := "Bearer first-token Bearer first-token Bearer first-token Bearer other-token"; strings.Join(got,
		" ") != want {
		t.Errorf("sent %q", got)
	}
	if len(versions) != 3 { // none, first, other
		t.Errorf("versions %v", versions)
	}
}

type bareToken struct{}

func (bareToken) Token(context.Context) (string, error) { return "bare-token", nil }

func TestCredentialVersion(t *testing.T) {
	for want, token := range map[string]TokenSource{"": bareToken{}, "static": StaticToken("x")} {
		c, err := New(Config{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.CredentialVersion(); got != want {
			t.Errorf("version %q, want %q", got, want)
		}
	}
}
