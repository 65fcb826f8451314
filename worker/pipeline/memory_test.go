package pipeline

import (
	"testing"

	"pgregory.net/rapid"

	"crmintake/batcher"
)

// However full the hand is: what a fetch and the claims may bring has room, and there is always room for something in the end.
func TestMemoryIsSharedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory := rapid.IntRange(minMemory, 256<<20).Draw(t, "memory")
		w := &Worker{cfg: Config{Memory: memory, InFlight: rapid.IntRange(1, 256).Draw(t, "in flight"),
			Batch: batcher.Config{Size: rapid.IntRange(1, 100).Draw(t, "size")}}}
		fresh := memory - w.memoryForDue()
		w.handBytes = rapid.IntRange(0, fresh).Draw(t, "in hand")
		count, bytes := w.roomFor(w.mostInHand())
		if count > 0 && (w.handBytes+2*bytes+count*itemOverhead > fresh || bytes < fetchLeast) {
			t.Fatalf("%d events of %d bytes, with %d of %d in hand", count, bytes, w.handBytes, fresh)
		}
		if w.handBytes == 0 && count < min(w.cfg.Batch.Size, w.mostInHand()/4) {
			t.Fatalf("%d events with nothing in hand", count)
		}
		for n := 0; w.mayClaim(); n++ {
			if n > 1000 {
				t.Fatal("claims without end")
			}
			w.reserve()
		}
		if w.claims == 0 || w.dueBytes > w.memoryForDue() {
			t.Fatalf("%d claims of %d bytes, of %d", w.claims, w.dueBytes, w.memoryForDue())
		}
	})
}
