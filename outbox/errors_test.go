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

func TestIsTransient(t *testing.T) {
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
func TestIsTransientOpen(t *testing.T) {
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

func TestFaultOf(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]Fault{
		"25006": ReadOnly, "53100": Full, "53300": Crowded, "55P03": Locked, "57P01": Starting, "57P03": Starting,
		"08006": Away,
		"28P01": Denied, "3D000": Denied, "42501": Denied, "42P01": Failing, "58030": Failing, "": Failing,
	} {
		if got := FaultOf(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("SQLSTATE %q: %q, want %q", code, got, want)
		}
	}
	for _, c := range []struct {
		err  error
		want Fault
	}{
		{nil, Well}, {context.DeadlineExceeded, Hangs}, {fmt.Errorf("x: %w", pgconn.ErrReadOnlyConnection), ReadOnly},
		{fmt.Errorf("x: %w", errNoWrites), ReadOnly}, {errors.New("x"), Failing},
	} {
		if got := FaultOf(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	for _, f := range []Fault{Away, Starting, Hangs, Locked, ReadOnly, Full, Crowded, Denied, Failing} {
		if f.What() == "" || f.Do() == "" {
			t.Errorf("%q has no words", f)
		}
	}
}

// The same by what a real server, or none, does.
func TestFaultOfAServer(t *testing.T) {
	t.Parallel()
	good := outboxtest.New(t)
	for name, c := range map[string]struct {
		change func(*url.URL)
		want   Fault
	}{
		"nobody listens": {func(u *url.URL) { u.Host = "127.0.0.1:1" }, Away},
		"password":       {func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") }, Denied},
		"database":       {func(u *url.URL) { u.Path = "/nowhere" }, Denied},
		"takes no writes": {func(u *url.URL) {
			q := u.Query()
			q.Set("default_transaction_read_only", "on")
			u.RawQuery = q.Encode()
		}, ReadOnly},
	} {
		u, err := url.Parse(good)
		ok(t, err)
		c.change(u)
		s, err := Open(t.Context(), u.String(), 1)
		if err == nil {
			err = s.Fleet.Heartbeat(t.Context(), "w", Capacity{Batch: 1}, Told{})
			s.Close()
		}
		if got := FaultOf(err); got != c.want {
			t.Errorf("%s: %q, want %q: %v", name, got, c.want, err)
		}
	}
}
