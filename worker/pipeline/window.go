package pipeline

// window is a congestion window for the create calls of an object type, so that the breaker is in time: what is under
// way when it trips can't be called back. Calls go one at a time until something was created, and then as many as
// there are slots. A call whose inputs were all rejected closes the window again, and the next ones carry few. What
// came to nothing, or was rejected in part with none created, changes nothing.
type window struct {
	calls int // under way, with what goes before and after them
	open  bool
	few   bool // a rejection closed it
}

// windows are those of all object types that were called. Worker.mu guards them.
type windows map[string]*window

// room tells whether another call may begin.
func (ws windows) room(objectType string) bool {
	w := ws[objectType]
	return w == nil || w.open || w.calls == 0
}

// few tells whether a call is to carry few inputs.
func (ws windows) few(objectType string) bool {
	w := ws[objectType]
	return w != nil && w.few
}

func (ws windows) begin(objectType string) {
	w := ws[objectType]
	if w == nil {
		w = &window{}
		ws[objectType] = w
	}
	w.calls++
}

// end reports whether the end of a call makes room.
func (ws windows) end(objectType string) (room bool) {
	w := ws[objectType]
	w.calls--
	return !w.open
}

// learn takes in what became of a call's inputs, and reports whether that makes room.
func (ws windows) learn(objectType string, inputs, others, rejected int) (room bool) {
	w := ws[objectType]
	switch {
	case others > 0:
		room = !w.open
		w.open, w.few = true, false
	case rejected > 0 && rejected == inputs:
		w.open, w.few = false, true
	}
	return room
}
