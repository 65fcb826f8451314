package hubspottest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

type grantAnswer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Expires int    `json:"expires_in"`
	Error   string
}

// refresh asks for an access token, with what change does to the request; status is 0 if there is no answer.
func refresh(t *testing.T, s *hubspottest.Server, token string,
	change func(r *http.Request, form url.Values)) (status int, a grantAnswer) {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "client_secret": {"secret"},
		"refresh_token": {token}}
	r, err := http.NewRequest(http.MethodPost, s.URL+"/oauth/2026-03/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r, form)
	}
	r.Body = io.NopCloser(strings.NewReader(form.Encode()))
	resp, err := client.Do(r)
	if err != nil {
		return 0, a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, a
	}
	_ = json.Unmarshal(body, &a)
	return resp.StatusCode, a
}

func granted(t *testing.T, app hubspottest.OAuth, now func() time.Time) *hubspottest.Server {
	t.Helper()
	app.ClientID, app.ClientSecret, app.RefreshToken = "app", "secret", "first"
	return start(t, hubspottest.Config{OAuth: &app, Now: now})
}

// use makes a call with an access token.
func use(t *testing.T, s *hubspottest.Server, token string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.URL+"/crm/objects/2026-03/contacts/batch/create",
		strings.NewReader(`{"inputs":[{"associations":[],"properties":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestOAuthIsStrict(t *testing.T) {
	s := granted(t, hubspottest.OAuth{}, nil)
	malformed := 0
	for name, x := range map[string]struct {
		change    func(r *http.Request, form url.Values)
		status    int
		error     string
		malformed bool
	}{
		"method": {func(r *http.Request, _ url.Values) { r.Method = "PUT" }, 405, "", true},
		"type":   {func(r *http.Request, _ url.Values) { r.Header.Set("Content-Type", "application/json") }, 415, "", true},
		"query":  {func(r *http.Request, _ url.Values) { r.URL.RawQuery = "client_id=app" }, 400, "invalid_request", true},
		"authorization": {func(r *http.Request, _ url.Values) { r.SetBasicAuth("app", "secret") }, 400, "invalid_request",
			true},
		"none":  {func(_ *http.Request, f url.Values) { f.Del("client_id") }, 400, "invalid_request", true},
		"twice": {func(_ *http.Request, f url.Values) { f.Add("client_id", "app") }, 400, "invalid_request", true},
		"empty": {func(_ *http.Request, f url.Values) { f.Set("refresh_token", "") }, 400, "invalid_request",
			true},
		"more": {func(_ *http.Request, f url.Values) { f.Set("code", "c") }, 400, "invalid_request", true},
		"grant type": {func(_ *http.Request, f url.Values) { f.Set("grant_type", "password") }, 400, "invalid_request",
			true},
		"another client": {func(_ *http.Request, f url.Values) { f.Set("client_id", "x") }, 400, "invalid_client", false},
		"another secret": {func(_ *http.Request, f url.Values) { f.Set("client_secret", "x") }, 400, "invalid_client",
			false},
		"another grant": {func(_ *http.Request, f url.Values) { f.Set("refresh_token", "x") }, 400, "invalid_grant",
			false},
		"nothing is wrong": {nil, 200, "", false},
		"another version":  {func(r *http.Request, _ url.Values) { r.URL.Path = "/oauth/v1/token" }, 404, "", true},
		"parameters at once": {func(_ *http.Request, f url.Values) { f.Del("client_id"); f.Del("refresh_token") }, 400,
			"invalid_request", true},
	} {
		if x.malformed {
			malformed++
		}
		if status, a := refresh(t, s, "first", x.change); status != x.status || a.Error != x.error {
			t.Errorf("%s: %d %q, want %d %q", name, status, a.Error, x.status, x.error)
		}
	}
	if n := s.Stats(); n.Malformed != malformed || n.Refreshes != 1 || n.Calls != 0 {
		t.Errorf("%d malformed, want %d; %d refreshes, %d calls", n.Malformed, malformed, n.Refreshes, n.Calls)
	}
}

func TestOAuthLife(t *testing.T) {
	now := time.Now()
	s := granted(t, hubspottest.OAuth{}, func() time.Time { return now })
	_, a := refresh(t, s, "first", nil)
	if a.Refresh != "first" || a.Expires != 1800 || use(t, s, a.Access) != 201 || use(t, s, token) != 201 ||
		use(t, s, "") != 401 {
		t.Errorf("%+v", a)
	}
	now = now.Add(30 * time.Minute)
	if status := use(t, s, a.Access); status != 401 {
		t.Errorf("status %d after its end", status)
	}
	_, a = refresh(t, s, "first", nil)
	s.ExpireTokens()
	if status := use(t, s, a.Access); status != 401 {
		t.Errorf("status %d after ExpireTokens", status)
	}
	_, a = refresh(t, s, "first", nil)
	s.RevokeGrant()
	if status, b := refresh(t, s, "first", nil); use(t, s, a.Access) != 401 || status != 400 ||
		b.Error != "invalid_grant" {
		t.Errorf("%d %+v after RevokeGrant", status, b)
	}
	s.Grant("second")
	if _, a = refresh(t, s, "second", nil); use(t, s, a.Access) != 201 {
		t.Error("a new grant does not work")
	}
}

func TestOAuthRotation(t *testing.T) {
	good := func(s *hubspottest.Server, token string) grantAnswer {
		t.Helper()
		status, a := refresh(t, s, token, nil)
		if status != 200 || a.Refresh == token {
			t.Errorf("%d %+v", status, a)
		}
		return a
	}
	bad := func(s *hubspottest.Server, token string) {
		t.Helper()
		if status, a := refresh(t, s, token, nil); status != 400 || a.Error != "invalid_grant" {
			t.Errorf("%d %+v", status, a)
		}
	}
	s := granted(t, hubspottest.OAuth{Rotate: true}, nil)
	good(s, "first")
	a := good(s, "first") // nothing of the one before was used
	use(t, s, a.Access)
	bad(s, "first")
	b := good(s, a.Refresh)
	good(s, a.Refresh)
	good(s, b.Refresh) // which ends the one that it came for
	bad(s, a.Refresh)

	s = granted(t, hubspottest.OAuth{RotateAtOnce: true}, nil)
	a = good(s, "first")
	bad(s, "first")
	good(s, a.Refresh)
}

func TestOAuthFaults(t *testing.T) {
	s := granted(t, hubspottest.OAuth{}, nil)
	for fault, want := range map[hubspottest.Fault]struct{ status, made int }{
		hubspottest.None: {200, 1}, hubspottest.Answer503: {503, 0}, hubspottest.Answer429: {429, 0},
		hubspottest.BreakBefore: {0, 0},
		hubspottest.BreakAfter:  {0, 1}, hubspottest.TruncatedBody: {0, 1}, hubspottest.HTMLBody: {200, 1},
		hubspottest.EmptyBody: {200, 1},
	} {
		before := s.Stats().Refreshes
		s.ScriptTokens(fault)
		status, a := refresh(t, s, "first", nil)
		if made := s.Stats().Refreshes - before; status != want.status || made != want.made ||
			(a.Access != "") != (fault == hubspottest.None) {
			t.Errorf("%s: %d, %d made, %+v", fault, status, made, a)
		}
	}
	for name, app := range map[string]hubspottest.OAuth{"no secret": {ClientID: "a", RefreshToken: "r"},
		"life": {ClientID: "a", ClientSecret: "s", RefreshToken: "r", Lifetime: -1}} {
		if _, err := hubspottest.New(hubspottest.Config{OAuth: &app}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
