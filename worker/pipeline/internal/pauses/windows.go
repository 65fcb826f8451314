package pauses

import "sync"

// window is a congestion window for the create calls of an object type, so that the breaker is in time: what is under
// way when it trips can't be called back. Calls go one at a time until something was created, and then as many as there
// are slots. A call whose inputs were all rejected closes the window again, and the next ones carry few. What came to
// nothing, or was rejected in part with none created, changes nothing.
type window struct {
	calls int // under way, with what goes before and after them
	open  bool
	few   bool // a rejection closed it
}

// Windows are those of all object types that were called. The zero value knows none.
type Windows struct {
	mu     sync.Mutex
	byType map[string]*window
}

// of returns the window of an object type.
func (ws *Windows) of(objectType string) *window {
	w := ws.byType[objectType]
	if w == nil {
		w = &window{}
		if ws.byType == nil {
			ws.byType = map[string]*window{}
		}
		ws.byType[objectType] = w
	}
	return w
}

// Room reports whether another call may begin.
func (ws *Windows) Room(objectType string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.of(objectType)
	return w.open || w.calls == 0
}

// Few reports whether a call is to carry few inputs.
func (ws *Windows) Few(objectType string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.of(objectType).few
}

// Begin counts a call.
func (ws *Windows) Begin(objectType string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.of(objectType).calls++
}

// End ends a call, and reports whether that makes room.
func (ws *Windows) End(objectType string) (room bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.of(objectType)
	w.calls--
	return !w.open
}

// Record takes in what became of a call's inputs: how many were rejected, and how many created. It reports whether that
// makes room.
func (ws *Windows) Record(objectType string, inputs, created, rejected int) (room bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.of(objectType)
	switch {
	case created > 0:
		room = !w.open
		w.open, w.few = true, false
	case rejected > 0 && rejected == inputs:
		w.open, w.few = false, true
	}
	return room
}
