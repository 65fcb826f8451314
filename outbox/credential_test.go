package outbox

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestChangeSecret(t *testing.T) {
	t.Parallel()
	s := open(t)
	change := func(value string, fails error, want string) {
		t.Helper()
		err := s.Vault.ChangeSecret(t.Context(), "n", func(had []byte, age time.Duration) ([]byte, error) {
			if string(had) != want || had == nil && want != "" || age < 0 || age > time.Hour {
				t.Errorf("shown %q after %v, want %q", had, age, want)
			}
			if value == "" {
				return nil, fails
			}
			return []byte(value), fails
		})
		if err != fails {
			t.Errorf("error %v, want %v", err, fails)
		}
	}
	failure := errors.New("no")
	change("", nil, "")
	change("x", failure, "")
	want(t, s, `SELECT count(*) FROM credential`, "0")
	change("one", nil, "")
	change("", nil, "one")
	change("two", failure, "one")
	change("two\x00\xff", nil, "one")
	exec(t, s, `UPDATE credential SET updated_at = updated_at - interval '10 minutes'`)
	ok(t, s.Vault.ChangeSecret(t.Context(), "n", func(had []byte, age time.Duration) ([]byte, error) {
		if string(had) != "two\x00\xff" || age < 10*time.Minute || age > 20*time.Minute {
			t.Errorf("shown %q after %v", had, age)
		}
		return nil, nil
	}))
}

// One at a time changes it, and each is shown what the one before made; the others wait.
func TestChangeSecretOneAtATime(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Vault.ChangeSecret(t.Context(), "n", func(had []byte, _ time.Duration) ([]byte, error) {
				return append(had, 'x'), nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(t, s, `SELECT convert_from(sealed, 'UTF8') FROM credential`, strings.Repeat("x", 8))

	ok(t, s.Vault.ChangeSecret(t.Context(), "n", func(had []byte, _ time.Duration) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.Vault.ChangeSecret(ctx, "n", func([]byte, time.Duration) ([]byte, error) { return []byte("y"), nil }); err == nil {
			t.Error("changed by two at once")
		}
		return nil, nil
	}))
}

// A connection that breaks before the commit leaves all as it was.
func TestChangeSecretNotCommitted(t *testing.T) {
	t.Parallel()
	s := open(t)
	ok(t, s.Vault.ChangeSecret(t.Context(), "n", func([]byte, time.Duration) ([]byte, error) { return []byte("one"), nil }))
	if err := s.Vault.ChangeSecret(t.Context(), "n", func([]byte, time.Duration) ([]byte, error) {
		exec(t, s, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`)
		return []byte("two"), nil
	}); err == nil {
		t.Error("no error")
	}
	want(t, s, `SELECT convert_from(sealed, 'UTF8') FROM credential`, "one")
}
