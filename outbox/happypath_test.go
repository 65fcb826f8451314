package outbox

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// batchOf returns n events of payload bytes each, and what settles them as created, with a url.
func batchOf(prefix string, n, payload int) ([]Event, []Settlement) {
	list, settlements := make([]Event, n), make([]Settlement, n)
	for i, id := range numbered(prefix, n) {
		list[i] = event(id, "")
		list[i].Payload = make([]byte, payload)
		rand.Read(list[i].Payload) // what can't be compressed
		settlements[i] = Settlement{EventID: id, Status: Created, RecordID: "171591000198",
			URL: "https://app.hubspot.com/contacts/1234567/record/0-1/171591000198"}
	}
	return list, settlements
}

// The way from sending to created is one insert and no update of a row, with several workers at once.
func TestHappyPathIsOneInsert(t *testing.T) {
	for _, payload := range []int{100, 300, 1500} {
		t.Run(fmt.Sprintf("payload of %d bytes", payload), func(t *testing.T) {
			s := open(t)
			var before, after int64
			wal := func(n *int64) {
				ok(t, s.pool.QueryRow(t.Context(), `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8`).Scan(n))
			}
			wal(&before)
			const workers, batches, size = 4, 10, 100
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for b := range batches {
						list, settlements := batchOf(fmt.Sprintf("%08x-%d-%d-", b*2654435761, w, b), size, payload)
						a := newAttempt()
						if _, err := s.Batches.Intend(t.Context(), a, list); err != nil {
							t.Error(err)
						}
						if err := s.Batches.Settle(t.Context(), a.ID, Call{Created: size}, settlements); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			wal(&after)
			t.Logf("%d bytes of WAL an event", (after-before)/(workers*batches*size))

			// A connection that ends reports what it did, soon after.
			s.pool.Reset()
			const query = `SELECT n_tup_ins, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'event'`
			n := workers * batches * size
			done := fmt.Sprintf("%d 0", n)
			last := []string{""}
			for until := time.Now().Add(time.Minute); time.Now().Before(until); {
				if last = lines(t, s, query); strings.HasPrefix(last[0], fmt.Sprint(n, " ")) {
					break
				}
			}
			if last[0] != done {
				t.Errorf("inserts, updates: %s, want %s", last[0], done)
			}
		})
	}
}
