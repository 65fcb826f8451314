package pipeline

import "testing"

func TestScratchLendsZeroValues(t *testing.T) {
	var s slicePool[int]
	list := s.get(3)
	if len(*list) != 3 {
		t.Fatalf("%d of 3", len(*list))
	}
	copy(*list, []int{1, 2, 3})
	*list = (*list)[:1] // as whoever appended less, or more, leaves it
	all := (*list)[:3]
	s.put(list)
	for i, v := range all {
		if v != 0 {
			t.Errorf("element %d is kept: %d", i, v)
		}
	}
	if more := s.get(10); len(*more) != 10 || (*more)[9] != 0 {
		t.Errorf("a longer one: %v", *more)
	}
}
