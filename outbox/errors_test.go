package outbox

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"crmintake/outbox/outboxtest"
)

func TestMayPass(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"57P03": true, "57P01": true, "53300": true, "08006": true, "40001": true, "25006": true, "58030": true,
		"28P01": false, "28000": false, "3D000": false, "42501": false, "42P01": false, "57P04": false, "": false,
	} {
		if got := IsTransient(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("SQLSTATE %q: %v", code, got)
		}
	}
	if !IsTransient(fmt.Errorf("x: %w", context.DeadlineExceeded)) {
		t.Error("a server that does not answer in time")
	}
	if !IsTransient(fmt.Errorf("x: %w", errors.Join(pgconn.ErrReadOnlyConnection))) {
		t.Error("none of several hosts takes writes")
	}
	if IsTransient(errors.New("schema behind")) {
		t.Error("what is not known")
	}
}

// The same by what a real server, or none, answers to Open.
func TestMayPassOpen(t *testing.T) {
	t.Parallel()
	good := outboxtest.New(t)
	for name, c := range map[string]struct {
		change func(*url.URL)
		want   bool
	}{
		"nobody listens": {func(u *url.URL) { u.Host = "127.0.0.1:1" }, true},
		"password":       {func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") }, false},
		"database":       {func(u *url.URL) { u.Path = "/nowhere" }, false},
	} {
		u, err := url.Parse(good)
		ok(t, err)
		c.change(u)
		s, err := Open(t.Context(), u.String(), 1)
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if IsTransient(err) != c.want {
			t.Errorf("%s: %v, of %v", name, !c.want, err)
		}
	}
}
