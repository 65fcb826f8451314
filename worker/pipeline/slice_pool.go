package pipeline

import (
	"sync"
)

// slicePool lends slices that are needed for one step of a batch, and takes them back: to make each anew would be a
// tenth of all that is allocated.
type slicePool[T any] struct{ pool sync.Pool }

// get lends a slice of n zero values. Nobody may have it any more when it is given back.
func (s *slicePool[T]) get(n int) *[]T {
	list, ok := s.pool.Get().(*[]T)
	if !ok {
		list = new([]T)
	}
	if cap(*list) < n {
		*list = make([]T, n)
	}
	*list = (*list)[:n]
	return list
}

// put takes a slice back, and lets go of what is in it.
func (s *slicePool[T]) put(list *[]T) {
	clear((*list)[:cap(*list)]) // who appended to it wrote behind its end
	s.pool.Put(list)
}
