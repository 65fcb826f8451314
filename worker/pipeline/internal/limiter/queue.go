package limiter

// queue is who waits for a token. One at a time has its turn. It has no lock: it is a part of what Limiter.mu guards.
type queue struct {
	urgent, usual []*waiter // who waits; whose turn it is stands in neither
	taken         bool      // it is somebody's turn
}

// waiter is one's place in the queue.
type waiter struct {
	turn    chan struct{} // closed when one's turn has come
	entered bool
}

// join takes a place: behind all, or, for what goes first, behind what goes first.
func (q *queue) join(first bool) *waiter {
	p := &waiter{turn: make(chan struct{})}
	if first {
		q.urgent = append(q.urgent, p)
	} else {
		q.usual = append(q.usual, p)
	}
	q.advance()
	return p
}

// leave gives up one's place, or ends one's turn. nil is no place.
func (q *queue) leave(p *waiter) {
	if p == nil {
		return
	}
	if p.entered {
		q.taken = false
		q.advance()
		return
	}
	for _, line := range []*[]*waiter{&q.urgent, &q.usual} {
		for i, other := range *line {
			if other == p {
				*line = append((*line)[:i], (*line)[i+1:]...)
				return
			}
		}
	}
}

// advance gives the next one its turn, if it is nobody's.
func (q *queue) advance() {
	if q.taken {
		return
	}
	for _, line := range []*[]*waiter{&q.urgent, &q.usual} {
		if len(*line) > 0 {
			p := (*line)[0]
			*line = (*line)[1:]
			p.entered, q.taken = true, true
			close(p.turn)
			return
		}
	}
}

// len is how many wait, whose turn it is left out.
func (q *queue) len() int { return len(q.urgent) + len(q.usual) }
