package inflight

import (
	"testing"

	"pgregory.net/rapid"
)

// However full the hand is: what a fetch and the claims may bring has room, and there is always room for something in
// the end.
func TestMemoryIsSharedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory := rapid.IntRange(8<<20, 256<<20).Draw(t, "memory")
		s := New(Config{Memory: memory, Calls: rapid.IntRange(1, 256).Draw(t, "in flight"), BatchSize: rapid.IntRange(1, 100).Draw(t, "size")})
		fresh := memory - s.memoryForClaims()
		s.bytes = rapid.IntRange(0, fresh).Draw(t, "in hand")
		count, bytes := s.Room()
		if count > 0 && (s.bytes+2*bytes+count*Overhead > fresh || bytes < minFetch) {
			t.Fatalf("%d events of %d bytes, with %d of %d in hand", count, bytes, s.bytes, fresh)
		}
		if s.bytes == 0 && count < min(s.cfg.BatchSize, s.most()/4) {
			t.Fatalf("%d events with nothing in hand", count)
		}
		for n := 0; s.MayClaim(); n++ {
			if n > 1000 {
				t.Fatal("claims without end")
			}
			s.Claim()
		}
		if s.claims == 0 || s.claimed > s.memoryForClaims() {
			t.Fatalf("%d claims of %d bytes, of %d", s.claims, s.claimed, s.memoryForClaims())
		}
	})
}

// What is claimed takes up what it has, and nothing once it is done.
func TestClaim(t *testing.T) {
	s := New(Config{Memory: 64 << 20, Calls: 8, BatchSize: 100})
	c := s.Claim()
	if c.Took(10, 1000); s.Bytes() != 2000+10*Overhead {
		t.Errorf("10 rows of 1000 bytes take up %d", s.Bytes())
	}
	if c.Release(); s.Bytes() != 0 || s.claims != 0 {
		t.Errorf("%d claims of %d bytes are left", s.claims, s.Bytes())
	}
}
