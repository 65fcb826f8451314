package hubspot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a Vault for one test.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	at     map[string]time.Time
}

func newMemory() *memory { return &memory{values: map[string][]byte{}, at: map[string]time.Time{}} }

func (m *memory) ChangeSecret(_ context.Context, name string,
	change func([]byte, time.Duration) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, err := change(m.values[name], time.Since(m.at[name]))
	if err == nil && value != nil {
		m.values[name], m.at[name] = value, time.Now()
	}
	return err
}

// endpoint answers requests for tokens without a network.
type endpoint func(form string) (status int, body string)

func (e endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	status, answer := e(string(body))
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer))}, nil
}

func oauth(t *testing.T, vault Vault, secret, refresh string, e endpoint) *OAuth {
	t.Helper()
	o, err := NewOAuth(OAuthConfig{ClientID: "app", ClientSecret: StaticToken(secret), RefreshToken: StaticToken(refresh),
		Vault: vault})
	if err != nil {
		t.Fatal(err)
	}
	o.transport = e
	return o
}

func numbered(n *int) endpoint {
	return func(string) (int, string) {
		*n++
		return 200, fmt.Sprintf(`{"access_token":"access-%d","expires_in":1800}`, *n)
	}
}

// The token is replaced five minutes before its end, by one call while others use it; and after its end when that did
// not work.
func TestOAuthAheadOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, down := 0, false
		began, goOn := make(chan bool), make(chan bool)
		give := numbered(&made)
		o := oauth(t, newMemory(), "secret", "refresh", func(form string) (int, string) {
			if down {
				return 503, ""
			}
			if made == 1 {
				close(began)
				<-goOn
			}
			return give(form)
		})
		want := func(token string, wantErr error) {
			t.Helper()
			if got, err := o.Token(t.Context()); got != token || !errors.Is(err, wantErr) {
				t.Errorf("%q, %v; want %q, %v", got, err, token, wantErr)
			}
		}
		want("access-1", nil)
		time.Sleep(25*time.Minute - time.Second)
		want("access-1", nil)
		time.Sleep(2 * time.Second)
		down = true
		want("access-1", nil)
		down = false
		want("access-1", nil) // not at once after a failure
		time.Sleep(aheadRetry)
		var one sync.WaitGroup
		one.Go(func() { want("access-2", nil) })
		<-began
		want("access-1", nil)
		close(goOn)
		one.Wait()
		want("access-2", nil)
		down = true
		time.Sleep(30 * time.Minute)
		want("", ErrTokenLater)
		down = false
		want("access-3", nil)
	})
}

// A refused token is replaced once, by whoever is told first. One that is new would be refused again.
func TestOAuthRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, vault := 0, newMemory()
		one, two := oauth(t, vault, "secret", "refresh", numbered(&made)),
			oauth(t, vault, "secret", "refresh", numbered(&made))
		ask := func(o *OAuth, want string) {
			t.Helper()
			if got, err := o.Token(t.Context()); got != want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		ask(one, "access-1")
		ask(two, "access-1")
		if err := one.Refused(t.Context(), "access-1"); err == nil || errors.Is(err, ErrTokenLater) ||
			!strings.Contains(err.Error(), "as soon as it was made") {
			t.Errorf("error %v", err)
		}
		time.Sleep(young)
		for range 3 {
			for _, o := range []*OAuth{one, two} {
				if err := o.Refused(t.Context(), "access-1"); err != nil {
					t.Error(err)
				}
			}
		}
		ask(one, "access-2")
		ask(two, "access-2")
	})
}

// What is kept tells nothing to who has not the client secret, and what can't be opened is as if it were not there.
func TestOAuthSealed(t *testing.T) {
	made, vault := 0, newMemory()
	give := func(form string) (int, string) {
		if made++; made > 1 && strings.Contains(form, "refresh_token=MARKER-first") {
			t.Error("the first refresh token was used twice")
		}
		return 200, fmt.Sprintf(`{"access_token":"MARKER-access-%d","refresh_token":"MARKER-next","expires_in":"1800"}`, made)
	}
	ask := func(secret, refresh, want string) {
		t.Helper()
		o := oauth(t, vault, secret, refresh, give)
		if got, err := o.Token(t.Context()); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if said := fmt.Sprintf("%v %+v %#v %s %q", o, o, o, o, o); strings.Contains(said, "MARKER") {
			t.Error(said)
		}
	}
	ask("MARKER-secret", "MARKER-first", "MARKER-access-1")
	ask("MARKER-secret", "MARKER-first", "MARKER-access-1")
	for name, value := range vault.values {
		if strings.Contains(name, "MARKER") || bytes.Contains(value, []byte("MARKER")) {
			t.Errorf("%s: %s", name, value)
		}
		vault.values[name] = append(bytes.Clone(value[:len(value)-1]), value[len(value)-1]^1)
	}
	ask("MARKER-secret", "MARKER-other", "MARKER-access-2")
	ask("MARKER-changed", "MARKER-other", "MARKER-access-3")
	ask("MARKER-secret", "MARKER-other", "MARKER-access-2")
	if len(vault.values) != 3 {
		t.Errorf("%d kept", len(vault.values))
	}
}

// What the token endpoint's answers mean. None is repeated with a secret in it.
func TestOAuthAnswers(t *testing.T) {
	const later = "LATER"
	for _, x := range []struct {
		status int
		body   string
		want   string // "" for a token
	}{
		{200, `{"access_token":"t"}`, ""},
		{201, `{"access_token":"t","expires_in":-5,"refresh_token":null}`, ""},
		{200, `{"accessToken":"MARKER"}`, later},
		{200, `{"access_token":"MARKER with a space"}`, later},
		{200, `{"access_token":"MARKER`, later},
		{200, `<html>MARKER-refresh`, later},
		{400, `{"error":"invalid_grant","error_description":"MARKER-refresh is bad"}`, "revoked"},
		{400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"c"}`, "revoked"},
		{400, `{"status":"error","category":"VALIDATION_ERROR","message":"Invalid refresh token"}`, "revoked"},
		{400, `{"error":"invalid_client","error_description":"no MARKER-secret"}`, "check client id and client secret"},
		{401, `MARKER-secret`, "check client id and client secret"},
		{404, ``, "check the API's address and version"},
		{302, ``, "check the API's address and version"},
		{429, `{"policyName":"SECONDLY"}`, later},
		{500, `MARKER-secret`, later},
		{503, `<html>`, later},
	} {
		o := oauth(t, newMemory(), "MARKER-secret", "MARKER-refresh", func(string) (int, string) { return x.status, x.body })
		token, err := o.Token(t.Context())
		switch {
		case x.want == "":
			if token != "t" || err != nil {
				t.Errorf("%d %s: %q, %v", x.status, x.body, token, err)
			}
		case err == nil || errors.Is(err, ErrTokenLater) != (x.want == later) ||
			x.want != later && !strings.Contains(err.Error(), x.want):
			t.Errorf("%d %s: %v, want %s", x.status, x.body, err, x.want)
		case strings.Contains(err.Error(), "MARKER"):
			t.Errorf("%d %s: it tells a secret: %v", x.status, x.body, err)
		}
	}
}

// The request, to the letter.
func TestOAuthRequest(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = []string{r.Method + " " + r.RequestURI, r.Header.Get("Content-Type"), r.UserAgent(),
			r.Header.Get("Authorization"), string(body)}
		_, _ = io.WriteString(w, `{"access_token":"t","expires_in":1800}`)
	}))
	defer server.Close()
	o, err := NewOAuth(OAuthConfig{BaseURL: server.URL + "/base/", Version: "2026-03", ClientID: "a&b",
		ClientSecret: StaticToken("s=+"),
		RefreshToken: StaticToken("r"), Vault: newMemory(), UserAgent: "me"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if token, err := o.Token(t.Context()); token != "t" || err != nil {
		t.Errorf("%q, %v", token, err)
	}
	want := []string{"POST /base/oauth/2026-03/token", "application/x-www-form-urlencoded", "me", "",
		"client_id=a%26b&client_secret=s%3D%2B&grant_type=refresh_token&refresh_token=r"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}

func TestNewOAuthRefuses(t *testing.T) {
	good := OAuthConfig{ClientID: "a", ClientSecret: StaticToken("s"), RefreshToken: StaticToken("r"), Vault: newMemory()}
	for name, change := range map[string]func(*OAuthConfig){
		"no id":      func(c *OAuthConfig) { c.ClientID = "" },
		"no secret":  func(c *OAuthConfig) { c.ClientSecret = nil },
		"no refresh": func(c *OAuthConfig) { c.RefreshToken = nil },
		"no vault":   func(c *OAuthConfig) { c.Vault = nil },
		"plain http": func(c *OAuthConfig) { c.BaseURL = "http://example.com" },
	} {
		cfg := good
		if change(&cfg); errOf(NewOAuth(cfg)) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := errOf(NewOAuth(good)); err != nil {
		t.Error(err)
	}
}

func errOf(_ *OAuth, err error) error { return err }
