package flags

import (
	"context"

	"crmintake/worker/hubspot"
)

// oauthFlags are an app's grant, in place of a token.
type OAuth struct {
	HubspotClientID         string `name:"hubspot-client-id" help:"An OAuth app's client id. With client secret and refresh token it takes the place of a token: access tokens are fetched, and shared by all workers." placeholder:"ID"`
	HubspotClientSecret     string `help:"The app's client secret. Better given by its environment variable or by --hubspot-client-secret-file." placeholder:"SECRET"`
	HubspotClientSecretFile string `help:"A file with the client secret. It is read again when it changes." placeholder:"FILE"`
	HubspotRefreshToken     string `help:"The refresh token that the account granted the app. Better given by its environment variable or by --hubspot-refresh-token-file." placeholder:"TOKEN"`
	HubspotRefreshTokenFile string `help:"A file with the refresh token. It is read again when it changes." placeholder:"FILE"`
}

func (f OAuth) Given() bool { return f != OAuth{} }

// token returns the credential of all calls, and what is to be closed after the last one. An app's tokens are in the
// vault.
func (f HubSpot) Token(vault hubspot.Vault, userAgent string) (hubspot.TokenSource, func(), error) {
	static, err := secretOf("hubspot-token", f.HubspotToken, f.HubspotTokenFile)
	switch {
	case err != nil:
		return nil, nil, err
	case static != nil && f.Given():
		return nil, nil, Usagef("a token and an OAuth app (--hubspot-client-id and so on) are both given; give one")
	case static != nil:
		return static, func() {}, nil
	case !f.Given():
		return nil, nil, Usagef("there is no credential: give --hubspot-token-file, or CRMINTAKE_HUBSPOT_TOKEN in " +
			"the environment; " +
			"or an OAuth app's --hubspot-client-id, --hubspot-client-secret-file and --hubspot-refresh-token-file")
	}
	secret, err := secretOf("hubspot-client-secret", f.HubspotClientSecret, f.HubspotClientSecretFile)
	if err != nil {
		return nil, nil, err
	}
	refresh, err := secretOf("hubspot-refresh-token", f.HubspotRefreshToken, f.HubspotRefreshTokenFile)
	if err != nil {
		return nil, nil, err
	}
	if f.HubspotClientID == "" || secret == nil || refresh == nil {
		return nil, nil, Usagef("an OAuth app needs all three: --hubspot-client-id, --hubspot-client-secret-file and " +
			"--hubspot-refresh-token-file")
	}
	app, err := hubspot.NewOAuth(hubspot.OAuthConfig{
		BaseURL: f.HubspotURL, Version: f.HubspotVersion, ClientID: f.HubspotClientID, ClientSecret: secret,
		RefreshToken: refresh,
		Vault:        vault, UserAgent: userAgent,
	})
	if err != nil {
		return nil, nil, Usage(err)
	}
	return app, app.Close, nil
}

// secretOf is a secret's flag or the file of its twin, nil if neither is given.
func secretOf(name, value, file string) (hubspot.TokenSource, error) {
	var source hubspot.TokenSource
	switch {
	case value != "" && file != "":
		return nil, Usagef("--%s and --%s-file are both given; give one", name, name)
	case value != "":
		source = hubspot.StaticToken(value)
	case file != "":
		source, name = hubspot.NewFileToken(file), name+"-file"
	default:
		return nil, nil
	}
	if _, err := source.Token(context.Background()); err != nil {
		return nil, Usagef("--%s: %w", name, err)
	}
	return source, nil
}

// hubspotFlags say where the CRM is, and who calls it.
type HubSpot struct {
	HubspotURL       string `name:"hubspot-url" help:"The API's address: https, or plain http to a loopback address." default:"https://api.hubapi.com" placeholder:"URL"`
	HubspotVersion   string `help:"The API's version, a part of its paths." default:"2026-03" placeholder:"VERSION"`
	HubspotToken     string `help:"The credential: a private app's or service key's token. Better given by its environment variable or by --hubspot-token-file: a command line is readable for all users." placeholder:"TOKEN"`
	HubspotTokenFile string `help:"A file with the credential. It is read again when it changes." placeholder:"FILE"`
	OAuth
}
