package pipeline

// signal makes one goroutine look again at what it waits for. It holds one: a set before the wait is not lost. Whoever
// changes what is waited for sets it afterwards, with no lock held.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}
