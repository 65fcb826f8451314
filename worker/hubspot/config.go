package hubspot

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Defaults of Config.
const (
	DefaultBaseURL        = "https://api.hubapi.com"
	DefaultVersion        = "2026-03"
	DefaultUserAgent      = "crmintake"
	DefaultMaxInFlight    = 16
	DefaultMaxAnswerBytes = 32 << 20
)

// MaxInputs is the most inputs that one call may have.
const MaxInputs = 100

// Config is where and how a Client calls. The zero value of a field means its default.
type Config struct {
	// BaseURL is where the API is: https, or plain http to a loopback address.
	BaseURL string
	// Version is the API's version in the path.
	Version string
	// Token gives the credential of each call. Required.
	Token TokenSource
	// MaxInFlight is how many calls are expected at once: so many idle connections are kept. It limits nothing.
	MaxInFlight int
	// IDProperty is the id property of each object type that has one.
	IDProperty map[string]string
	// UserAgent is sent with each call.
	UserAgent string
	// KeepResult keeps each created record's result as received.
	KeepResult bool
	// MaxAnswerBytes is the largest answer that is read; a larger one counts as undecodable. 100 results of records
	// with long texts (65,536 characters a value) are far below the default.
	MaxAnswerBytes int64
	// RootCAs are trusted instead of the system's, for an inspecting proxy for example.
	RootCAs *x509.CertPool
}

func (c Config) withDefaults() Config {
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	if c.Version == "" {
		c.Version = DefaultVersion
	}
	if c.UserAgent == "" {
		c.UserAgent = DefaultUserAgent
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.MaxAnswerBytes == 0 {
		c.MaxAnswerBytes = DefaultMaxAnswerBytes
	}
	return c
}

// Validate returns all that is wrong with c. Nothing in its errors is secret.
func (c Config) Validate() error {
	c = c.withDefaults()
	_, err := parseBase(c.BaseURL)
	errs := []error{err}
	if !pathSafe(strings.ReplaceAll(c.Version, ".", "")) {
		errs = append(errs, fmt.Errorf("version %q: want letters, digits, '.', '_' and '-'", c.Version))
	}
	if c.Token == nil {
		errs = append(errs, errors.New("token: there is none"))
	}
	if c.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("max in flight %d: less than 0", c.MaxInFlight))
	}
	if c.MaxAnswerBytes < 0 {
		errs = append(errs, fmt.Errorf("max answer bytes %d: less than 0", c.MaxAnswerBytes))
	}
	for i := range len(c.UserAgent) {
		if b := c.UserAgent[i]; b < ' ' || b > '~' {
			errs = append(errs, fmt.Errorf("user agent %q: want printable ASCII", c.UserAgent))
			break
		}
	}
	for objectType, property := range c.IDProperty {
		if !pathSafe(objectType) {
			errs = append(errs, fmt.Errorf("id property of %q: not an object type", objectType))
		}
		if property == "" {
			errs = append(errs, fmt.Errorf("id property of %q: empty", objectType))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("hubspot: %w", err)
	}
	return nil
}

// parseBase never repeats the address in its errors: it may hold a password.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("base url: not a valid url")
	case u.User != nil:
		return nil, errors.New("base url: must not hold a user or a password")
	case u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("base url: has no host")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("base url: must not have a query or a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("base url: plain http only to a loopback address, the credential would be readable")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("base url: scheme %q, want https", u.Scheme)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pathSafe: s can stand in a path as it is.
func pathSafe(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}
