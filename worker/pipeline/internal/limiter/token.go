package limiter

import "time"

// Token is the right to make one call. The zero value is no token.
type Token struct {
	at         time.Time // by the database's clock: its name in the outbox
	start, end time.Time // by ours: when the call may begin
	cut        time.Time // when Reserve returned it, for its batch to be cut; zero if Reserve did not
}

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t.at.IsZero() }

// expired reports whether a call that is ready so late can't begin in time.
func (t Token) expired(now time.Time, ready time.Duration) bool { return t.end.Before(now.Add(ready)) }

// hand is the tokens of this worker. It has no lock: it is a part of what Limiter.mu guards.
type hand struct {
	have   []Token     // granted and not yet given to anybody, in the order of their times
	out    int         // given to somebody whose call has not begun
	unused []time.Time // no call was made with them, and the outbox was not told yet
}

// pop takes the first token that is good for what will be ready so soon.
func (h *hand) pop(now time.Time, ready time.Duration) (Token, bool) {
	for len(h.have) > 0 {
		next := h.have[0]
		h.have = h.have[1:]
		if !next.expired(now, ready) {
			h.out++
			return next, true
		}
		h.unused = append(h.unused, next.at)
	}
	return Token{}, false
}

// refund takes back a token of pop that no call was made with.
func (h *hand) refund(t Token) {
	h.out--
	h.unused = append(h.unused, t.at)
}

// drop gives up what nobody has been given.
func (h *hand) drop() {
	for _, t := range h.have {
		h.unused = append(h.unused, t.at)
	}
	h.have = nil
}
