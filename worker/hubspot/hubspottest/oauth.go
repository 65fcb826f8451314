package hubspottest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultLifetime is how long an access token lives.
const DefaultLifetime = 30 * time.Minute

// OAuth is an app that the account has granted access.
type OAuth struct {
	// ClientID, ClientSecret and RefreshToken are what a refresh needs. Required.
	ClientID, ClientSecret, RefreshToken string
	// Lifetime is how long access tokens live.
	Lifetime time.Duration
	// Rotate has each refresh give another refresh token. The one before ends when what came in its place is first
	// used, or at once with RotateAtOnce.
	Rotate, RotateAtOnce bool
}

func (o *OAuth) validate() error {
	if o != nil && (o.ClientID == "" || o.ClientSecret == "" || o.RefreshToken == "" || o.Lifetime < 0) {
		return errors.New("oauth: want a client id, a client secret and a refresh token, and no negative lifetime")
	}
	return nil
}

// grants are the tokens of an app. They are not safe for concurrent use: credentials guards them.
type grants struct {
	app     *OAuth
	refresh map[string]string // those that are good, and which one ends when each is used; "" for none
	access  map[string]accessToken
	expired map[string]bool
	made    int
}

type accessToken struct {
	ends   time.Time
	before string // the refresh token that ends when this is used, "" for none
}

func (g *grants) begin(app *OAuth) {
	if app == nil {
		return
	}
	copied := *app
	if copied.Lifetime == 0 {
		copied.Lifetime = DefaultLifetime
	}
	g.app = &copied
	g.refresh, g.access, g.expired = map[string]string{app.RefreshToken: ""}, map[string]accessToken{}, map[string]bool{}
}

// accept is true for a good access token, and ends what is over by its use.
func (g *grants) accept(token string, now time.Time) bool {
	t, ok := g.access[token]
	if !ok {
		return false
	}
	if !now.Before(t.ends) {
		g.end(token)
		return false
	}
	delete(g.refresh, t.before)
	return true
}

func (g *grants) end(token string) {
	delete(g.access, token)
	g.expired[token] = true
}

// renew makes an access token, and perhaps a refresh token, which is "" otherwise. ok is false if the one given is not
// good.
func (g *grants) renew(refresh string, now time.Time) (access, next string, ok bool) {
	before, ok := g.refresh[refresh]
	if !ok {
		return "", "", false
	}
	delete(g.refresh, before)
	g.made++
	access = fmt.Sprintf("access-%d-of-%s", g.made, g.app.RefreshToken)
	t := accessToken{ends: now.Add(g.app.Lifetime)}
	if g.app.Rotate || g.app.RotateAtOnce {
		next = fmt.Sprintf("refresh-%d-of-%s", g.made, g.app.RefreshToken)
		g.refresh[next], t.before = refresh, refresh
		if g.app.RotateAtOnce {
			delete(g.refresh, refresh)
		}
	}
	g.access[access] = t
	return access, next, true
}

// refresh answers a request for an access token.
func (x *exchange) refresh() {
	if x.r.Method != http.MethodPost {
		x.w.Header().Set("Allow", http.MethodPost)
		x.refuse(http.StatusMethodNotAllowed, &problem{message: "HTTP 405 Method Not Allowed"})
		return
	}
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		x.refuse(http.StatusUnsupportedMediaType, &problem{message: "HTTP 415 Unsupported Media Type"})
		return
	}
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxKept))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	form, err := tokenForm(string(body))
	if x.r.URL.RawQuery != "" || x.r.Header.Get("Authorization") != "" {
		err = errors.New("all parameters belong in the body")
	}
	if err != nil {
		x.malformed = true
		x.deny("invalid_request", err.Error())
		return
	}
	x.effect = x.crm.injector.nextOfTokens()
	x.crm.journal.met(x.effect.fault)
	switch {
	case x.effect.fault == BreakBefore:
		x.reset()
		return
	case x.effect.status != 0:
		x.stand()
		return
	}
	access, next, code, words := x.crm.renew(form, x.crm.cfg.Now())
	if code != "" {
		x.deny(code, words)
		return
	}
	x.crm.journal.refreshed()
	switch x.effect.fault {
	case BreakAfter:
		x.reset()
		return
	case SlowAnswer:
		x.wait(x.crm.cfg.Delay, x.r.Context().Done())
	}
	if next == "" {
		next = form.Get("refresh_token")
	}
	x.out = fmt.Appendf(x.out, `{"token_type":"bearer","access_token":%q,"refresh_token":%q,"expires_in":%d,`+
		`"hub_id":62515,"scopes":["oauth"]}`, access, next, int(x.crm.lifetime()/time.Second))
	x.send(http.StatusOK)
}

// tokenForm reads a body that has each parameter of a refresh once, with a value, and no other.
func tokenForm(body string) (url.Values, error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, errors.New("the body is no form")
	}
	for _, name := range []string{"grant_type", "client_id", "client_secret", "refresh_token"} {
		if len(form[name]) != 1 || strings.TrimSpace(form.Get(name)) == "" {
			return nil, errors.New("want one " + name)
		}
	}
	if len(form) != 4 {
		return nil, errors.New("there is a parameter that a refresh does not have")
	}
	if form.Get("grant_type") != "refresh_token" {
		return nil, errors.New("want the grant type refresh_token")
	}
	return form, nil
}

// deny answers with an error in the form of RFC 6749.
func (x *exchange) deny(code, words string) {
	x.out = fmt.Appendf(x.out, `{"error":%q,"error_description":%q}`, code, words)
	x.json(http.StatusBadRequest)
}
