package pipeline

// waiter is one's place in the line.
type waiter struct {
	turn    chan struct{} // closed when one's turn has come
	entered bool
}

// join takes a place in the line: behind all, or, for what goes first, behind what goes first.
func (t *tokens) join(first bool) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &waiter{turn: make(chan struct{})}
	if first {
		t.urgent = append(t.urgent, p)
	} else {
		t.usual = append(t.usual, p)
	}
	t.advance()
	return p
}

// leave gives up one's place or ends one's turn. nil is no place.
func (t *tokens) leave(p *waiter) {
	if p == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.entered {
		t.taken = false
		t.advance()
		return
	}
	for _, line := range []*[]*waiter{&t.urgent, &t.usual} {
		for i, other := range *line {
			if other == p {
				*line = append((*line)[:i], (*line)[i+1:]...)
				return
			}
		}
	}
}

// advance lets the next one in. The caller holds mu.
func (t *tokens) advance() {
	if t.taken {
		return
	}
	for _, line := range []*[]*waiter{&t.urgent, &t.usual} {
		if len(*line) > 0 {
			p := (*line)[0]
			*line = (*line)[1:]
			p.entered, t.taken = true, true
			close(p.turn)
			return
		}
	}
}
