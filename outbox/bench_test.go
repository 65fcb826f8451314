package outbox

import (
	"fmt"
	"testing"
)

// What a batch of 100 events of 300 bytes costs; see deploy/local for the server's settings.
const benchBatch, benchPayload = 100, 300

func BenchmarkIntend100(b *testing.B) {
	s := open(b)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		list, _ := batchOf(fmt.Sprintf("e%09d-", n), benchBatch, benchPayload)
		b.StartTimer()
		if _, err := s.Batches.Intend(b.Context(), newAttempt(), list); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSettle100(b *testing.B) {
	s := open(b)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		list, settlements := batchOf(fmt.Sprintf("e%09d-", n), benchBatch, benchPayload)
		a := newAttempt()
		if _, err := s.Batches.Intend(b.Context(), a, list); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := s.Batches.Settle(b.Context(), a.ID, Call{Status: 201, Created: benchBatch}, settlements); err != nil {
			b.Fatal(err)
		}
	}
}
