package hubspot

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Vault keeps, for the whole fleet, one secret under each name. outbox.Vault is one.
type Vault interface {
	// ChangeSecret shows what is kept under name, nil if nothing is, with its age, and keeps what change returns, if it
	// is not nil and without error. Nobody else is shown it meanwhile. When ChangeSecret returns no error, what change
	// returned is durable.
	ChangeSecret(ctx context.Context, name string, change func(value []byte, age time.Duration) ([]byte, error)) error
}

// OAuthConfig is an app's grant.
type OAuthConfig struct {
	// BaseURL and Version are where the token endpoint is, as in Config.
	BaseURL, Version string
	// ClientID and ClientSecret are the app's.
	ClientID     string
	ClientSecret TokenSource
	// RefreshToken is what the account's user granted. Once the API has given another one in its place, it only tells
	// which grant is meant.
	RefreshToken TokenSource
	// Vault shares the tokens among the workers.
	Vault     Vault
	UserAgent string
	RootCAs   *x509.CertPool
}

// OAuth is a TokenSource that has access tokens from refresh tokens. All workers of a Vault share one access token.
//
//   - It is refreshed ahead of time, by one call of one worker, and while that goes on all others go on with the one
//     that there is. All wait only where there is none.
//   - Who refreshes holds the grant's row in the Vault. So the fleet makes one request, however many find the token old
//     or refused.
//   - A refresh token that was given in place of another is durable before it, or the access token that came with it,
//     is used. A worker that dies before that leaves the former one in the Vault. RFC 6749 lets a server end it as soon
//     as it has given another; then the grant is lost, and the account is paused for a person to grant it again. The
//     API is not known to give others.
//   - What is kept is sealed (AES-256-GCM) with a key made of the client secret, under a name made of client and
//     refresh token: a copy of the database gives nobody access. With another client secret or refresh token the fleet
//     begins anew from those.
//   - A grant that is revoked is an error that says so; anything that says nothing about the grant is ErrTokenLater.
//     Neither has a secret in it.
//
// Its methods may be called by many goroutines at once.
type OAuth struct {
	cfg       OAuthConfig
	endpoint  *url.URL
	transport http.RoundTripper

	one chan struct{} // holds one while this worker refreshes or asks the Vault

	mu      sync.Mutex // guards what follows
	grant   *grant     // of which current is
	current access
	again   time.Time // when to try once more to refresh ahead of time
}

// access is an access token, and when by this process's clock it is to be replaced and when it ends.
type access struct {
	token         string
	replace, ends time.Time
}

const (
	// ahead is how long before its end a token is replaced, or a quarter of its life if that is less. Access tokens
	// live 30 minutes.
	ahead = 5 * time.Minute
	// aheadRetry is how long to wait after that failed.
	aheadRetry = 15 * time.Second
	// refreshTimeout bounds one try, the wait for other workers' included.
	refreshTimeout = 10 * time.Second
	// usualLife is for an answer that does not tell.
	usualLife = 30 * time.Minute
	// young: the API has refused a token that is hardly used. Another one would not help; it is tried no more often
	// than this.
	young = time.Minute
)

// NewOAuth returns a source, or what is wrong with cfg. It asks nobody yet.
func NewOAuth(cfg OAuthConfig) (*OAuth, error) {
	basics := Config{BaseURL: cfg.BaseURL, Version: cfg.Version, UserAgent: cfg.UserAgent, Token: cfg.RefreshToken}
	if err := basics.Validate(); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecret == nil || cfg.Vault == nil {
		return nil, errors.New("hubspot: OAuth needs a client id, a client secret and a vault")
	}
	basics = basics.withDefaults()
	cfg.UserAgent = basics.UserAgent
	endpoint, err := parseBase(basics.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("hubspot: %w", err)
	}
	endpoint.Path += "/oauth/" + basics.Version + "/token"
	return &OAuth{cfg: cfg, endpoint: endpoint, transport: newTransport(cfg.RootCAs, 1), one: make(chan struct{}, 1)}, nil
}

// Close closes idle connections.
func (o *OAuth) Close() {
	if t, ok := o.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// String names the grant by its client, and no secret.
func (o *OAuth) String() string { return "OAuth of client " + o.cfg.ClientID }

// Format implements fmt.Formatter, since %#v would print the fields.
func (o *OAuth) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, o.String()) }

// Version changes when client secret or refresh token are given anew.
func (o *OAuth) Version() string {
	version := func(s TokenSource) string {
		if v, ok := s.(interface{ Version() string }); ok {
			return v.Version()
		}
		return ""
	}
	return version(o.cfg.ClientSecret) + " " + version(o.cfg.RefreshToken)
}

// Token implements TokenSource.
func (o *OAuth) Token(ctx context.Context) (string, error) {
	g, err := o.granted(ctx)
	if err != nil {
		return "", err
	}
	current, replace := o.usable(g)
	if current != "" {
		if !replace {
			return current, nil
		}
		select {
		case o.one <- struct{}{}:
		default:
			return current, nil // another call is at it
		}
		defer func() { <-o.one }()
		if token, err := o.renew(ctx, g, ""); err == nil {
			return token, nil
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.again = time.Now().Add(aheadRetry)
		return current, nil
	}
	if err := o.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-o.one }()
	if current, _ = o.usable(g); current != "" { // who was faster has it
		return current, nil
	}
	return o.renew(ctx, g, "")
}

// Refused has the token replaced, unless another call or worker has done so.
func (o *OAuth) Refused(ctx context.Context, token string) error {
	g, err := o.granted(ctx)
	if err != nil {
		return err
	}
	if err := o.enter(ctx); err != nil {
		return err
	}
	defer func() { <-o.one }()
	if current, _ := o.usable(g); current != "" && current != token {
		return nil
	}
	_, err = o.renew(ctx, g, token)
	return err
}

func (o *OAuth) enter(ctx context.Context) error {
	select {
	case o.one <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: another call waits for one already", ErrTokenLater)
	}
}

// granted is the grant by the configuration as it is now.
func (o *OAuth) granted(ctx context.Context) (*grant, error) {
	secret, err := o.cfg.ClientSecret.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("client secret: %w", err)
	}
	refresh, err := o.cfg.RefreshToken.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("refresh token: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if g := o.grant; g == nil || g.secret != secret || g.refresh != refresh {
		if o.grant, err = newGrant(o.cfg.ClientID, secret, refresh); err != nil {
			return nil, err
		}
		o.current, o.again = access{}, time.Time{}
	}
	return o.grant, nil
}

// usable is the token that may be used, "" if there is none, and whether it is time to replace it.
func (o *OAuth) usable(g *grant) (token string, replace bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.grant != g || o.current.token == "" || past(o.current.ends, now) {
		return "", false
	}
	return o.current.token, past(o.current.replace, now) && past(o.again, now)
}

// renew has a token from the Vault, or else from the API. The caller holds one.
func (o *OAuth) renew(ctx context.Context, g *grant, refused string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	var got tokens
	var age time.Duration
	var said error
	err := o.cfg.Vault.ChangeSecret(ctx, g.name, func(sealed []byte, since time.Duration) ([]byte, error) {
		kept, have := g.open(sealed)
		if have && kept.Access != refused && since < kept.Life-margin(kept.Life) {
			got, age = kept, since
			return nil, nil
		}
		if have && kept.Access == refused && since < young {
			said = errors.New("an access token was refused as soon as it was made; " +
				"check that the app is still installed, and its scopes")
			return nil, said
		}
		refresh := g.refresh
		if have {
			refresh = kept.Refresh
		}
		if got, said = o.request(ctx, g, refresh); said != nil {
			return nil, said
		}
		return g.seal(got)
	})
	switch {
	case said != nil:
		return "", said
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrTokenLater, err)
	}
	left := got.Life - age
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grant == g {
		o.current = access{token: got.Access, replace: now.Add(left - margin(got.Life)), ends: now.Add(left)}
	}
	return got.Access, nil
}

// margin is how long before its end a token with such a life is replaced.
func margin(life time.Duration) time.Duration { return min(ahead, life/4) }
