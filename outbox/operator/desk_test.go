package operator

import (
	"testing"

	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
)

func openStore(t testing.TB) *outbox.Store {
	t.Helper()
	s, err := outbox.Open(t.Context(), outboxtest.New(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// exec does what only a test does: it changes rows past the Store.
func exec(t testing.TB, s *outbox.Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.Pool().Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
