package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxTokenAnswer is far above any answer with tokens.
const maxTokenAnswer = 64 << 10

// request asks the token endpoint, once. Its form is the documentation's for 2026-03: all parameters in the body, none
// in the address. The error forms are those of RFC 6749, of the API in general, and of the endpoint's former version;
// each is met in practice.
//
// It is not golang.org/x/oauth2 that asks: that one reads an answer by its content type and not by what it holds, and
// drops the refresh token that it got where it can't read the lifetime beside it.
func (o *OAuth) request(ctx context.Context, g *grant, refresh string) (tokens, error) {
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {g.client}, "client_secret": {g.secret},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return tokens{}, errors.New("the token endpoint's address is not valid")
	}
	r.GetBody = nil // net/http does not send it a second time
	r.Header = http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"},
		"User-Agent": {o.cfg.UserAgent},
	}
	hide := g.redactor(refresh)
	resp, err := o.transport.RoundTrip(r)
	if err != nil {
		return tokens{}, fmt.Errorf("%w: the token endpoint does not answer: %s", ErrTokenLater, hide.line(err.Error()))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	var a tokenAnswer
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return tokens{}, a.refusal(resp.StatusCode, hide)
	}
	if err != nil { // its words could repeat a part of the tokens
		return tokens{}, fmt.Errorf("%w: the token endpoint's answer can't be read", ErrTokenLater)
	}
	return a.tokens(refresh)
}

type tokenAnswer struct {
	AccessToken  string      `json:"access_token"`
	RefreshToken string      `json:"refresh_token"`
	ExpiresIn    json.Number `json:"expires_in"`

	Error       string `json:"error"` // RFC 6749
	Description string `json:"error_description"`
	Status      string `json:"status"` // the former version: BAD_REFRESH_TOKEN and the like; else the word "error"
	Category    string `json:"category"`
	Message     string `json:"message"`
}

func (a *tokenAnswer) tokens(refresh string) (tokens, error) {
	token, err := checkToken(a.AccessToken)
	if err != nil {
		return tokens{}, fmt.Errorf("%w: the token endpoint's answer has no access token", ErrTokenLater)
	}
	t := tokens{Access: token, Refresh: refresh, Life: usualLife}
	if seconds, err := a.ExpiresIn.Int64(); err == nil && seconds > 0 {
		t.Life = time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
	}
	if a.RefreshToken != "" {
		t.Refresh = a.RefreshToken
	}
	return t, nil
}

// refusal is the error of an answer that is no 2xx. What is not about the client or the grant is tried again later.
func (a *tokenAnswer) refusal(status int, hide redactor) error {
	code := a.Error
	for _, other := range []string{a.Status, a.Category} {
		if code == "" && !isCode(other, "error") {
			code = other
		}
	}
	words := a.Description
	if words == "" {
		words = a.Message
	}
	said := hide.line(fmt.Sprintf("%d %s %s", status, code, words))
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status == http.StatusLocked,
		status == 477, status >= 500, status < 300:
		return fmt.Errorf("%w: the token endpoint answers %s", ErrTokenLater, said)
	case isCode(code, "invalid_grant", "BAD_REFRESH_TOKEN", "BAD_HUB", "unauthorized"),
		strings.Contains(strings.ToLower(words), "refresh token"):
		return fmt.Errorf("the OAuth grant was revoked or has run out; install the app again and give its new refresh token "+
			"(the token endpoint answers %s)", said)
	case status < 400, status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return fmt.Errorf("there is no token endpoint; check the API's address and version (it answers %s)", said)
	}
	return fmt.Errorf("the OAuth client is refused; check client id and client secret "+
		"(the token endpoint answers %s)", said)
}
