// Package limiter is one worker's part of the quota that all workers share.
//
// # The contract
//
// No call begins without a token, and no token is used twice. The outbox grants tokens (outbox.Quota, Take): each is
// for one call, and names the time from which it may begin. A token whose time has passed is worth nothing; it goes
// back, and another is asked for. What goes back unused is told with the next question, so that the fleet can use it.
//
// # The life of a token
//
//	Take ──► in hand ──► Reserve ──► (the batch is cut, its intent is committed) ──► Wait ──► the call ──► Answered
//	            │            └──────────────────── Refund, or too late ──────────────┘
//	            └── Wait, for batches that were claimed from the outbox or split
//
// Reserve is for fresh events, whose batch goes on filling up until the token's time is near: it returns as long
// before that time as intents have lately taken (the lead). Wait is for what is in a batch already; it returns when
// the call may begin, which must be made then or be told to Refund's like, Answered.
//
// # Who waits
//
// Whoever wants a token stands in one queue, in the order of their coming; reads of what is in doubt go first. One at a
// time asks the outbox, for as many tokens as there are batches that could use them, four at most.
//
// # Clocks
//
// Tokens have the database's time. Each answer of the database's tells, within the time that it took, how that clock
// stands to this process's; the answer that took least counts, until drift has made it the worse one (clock.go).
//
// All methods may be called by many goroutines at once. None but Reserve, Wait and Answered waits for anybody.
package limiter
