package pipeline

import (
	"testing"

	"crmintake/worker"
)

// Sizes that a CRM with a limit refuses are tried less and less often, and batches are of half the limit at least; without a limit
// any more they are as large as they may be after a bounded number of calls.
func TestRequestSize(t *testing.T) {
	const most, event = 1 << 20, 500
	s := requestSize{most: most, bound: most}
	call := func(limit int) (refused int) {
		parts := []int{max(s.bound/event, 1)}
		for whole := true; len(parts) > 0; whole = false {
			inputs := parts[0]
			parts = parts[1:]
			class := worker.Answered
			if inputs*event > limit {
				class = worker.TooLarge
			}
			s.record(inputs*event, inputs, !whole, class)
			if class == worker.TooLarge && inputs > 1 {
				refused++
				parts = append([]int{inputs / 2, inputs - inputs/2}, parts...)
			}
		}
		return refused
	}
	for range 20 { // all of it is refused, for as long as one batch takes
		call(0)
	}
	if s.bound > 2*event {
		t.Fatalf("the bound is %d", s.bound)
	}
	calls := 0
	for ; s.bound < most && calls < 1000; calls++ {
		call(most)
	}
	if calls > 20 {
		t.Errorf("%d calls until batches are full again", calls)
	}

	const limit = 100_000
	s = requestSize{most: most, bound: most}
	call(limit)
	refused := 0
	for range 10_000 {
		refused += call(limit)
		if s.bound < limit/2 {
			t.Fatalf("the bound is %d", s.bound)
		}
	}
	if refused > 60 {
		t.Errorf("%d of 10,000 calls are refused", refused)
	}
	for calls = 0; s.bound < most && calls < 10_000; calls++ {
		if call(most) > 0 {
			t.Fatal("refused")
		}
	}
	if calls > 5*mostPatience {
		t.Errorf("%d calls until batches are full again", calls)
	}
}
