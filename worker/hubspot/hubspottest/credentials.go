package hubspottest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// credentials are the tokens that let somebody in.
type credentials struct {
	mu     sync.Mutex // guards all below
	token  string
	former map[string]bool // tokens that were accepted before
	grants grants
}

func (c *credentials) begin(cfg Config) {
	c.token, c.former = cfg.Token, make(map[string]bool)
	c.grants.begin(cfg.OAuth)
}

// SetToken changes the token that is accepted. The former one is answered EXPIRED_AUTHENTICATION from now on.
func (c *credentials) SetToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.former[c.token] = true
	c.token = token
}

// RevokeGrant is what a user does who removes the app: no token is good any more.
func (c *credentials) RevokeGrant() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.grants.refresh)
	for token := range c.grants.access {
		c.grants.end(token)
	}
}

// Grant is what a user does who installs the app again: another refresh token is good, beside those that are.
func (c *credentials) Grant(refreshToken string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grants.refresh[refreshToken] = ""
}

// ExpireTokens ends all access tokens before their time.
func (c *credentials) ExpireTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, token := range slices.Collect(maps.Keys(c.grants.access)) {
		c.grants.end(token)
	}
}

// check is what is wrong with a credential, nil if nothing is.
func (c *credentials) check(authorization string, now time.Time) *problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	token, bearer := strings.CutPrefix(authorization, "Bearer ")
	switch {
	case bearer && token == c.token && token != "":
		return nil
	case bearer && c.grants.accept(token, now):
		return nil
	case bearer && (c.former[token] || c.grants.expired[token]):
		p := standing[http.StatusUnauthorized]
		return &p
	}
	return &problem{category: "INVALID_AUTHENTICATION", message: "Authentication credentials not found."}
}

// lifetime is an access token's.
func (c *credentials) lifetime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grants.app.Lifetime
}

// renew answers a refresh: with tokens, where next is "" if the refresh token stays, or with an error's code and words.
func (c *credentials) renew(form url.Values, now time.Time) (access, next, code, words string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if form.Get("client_id") != c.grants.app.ClientID || form.Get("client_secret") != c.grants.app.ClientSecret {
		return "", "", "invalid_client", "missing or unknown client id, or another client secret"
	}
	access, next, ok := c.grants.renew(form.Get("refresh_token"), now)
	if !ok {
		return "", "", "invalid_grant", "missing or invalid refresh token"
	}
	return access, next, "", ""
}
