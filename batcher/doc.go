// Package batcher gathers items into batches, one line for each key, and says when a batch is to be cut.
//
// # Contract
//
//   - Nothing is lost or doubled: every item that was added comes out once, by Cut, CutFew, Drain or DrainAll.
//   - Within a key items come out in the order in which they were added.
//   - A batch holds at most Config.Size items, and their bytes add up to at most Config.Bytes; only an item that is
//     larger by itself goes out all the same, alone.
//   - A batch is ripe when it is full, which is when no further item would fit, or when its oldest item has waited for
//     Config.Wait. It is not cut by ripening: it goes on filling up until its owner calls Cut, so a batch is cut as
//     late as the owner can send it. A line that has grown longer than one batch is cut batch by batch. CutFew cuts a
//     part of a batch.
//   - Among ripe keys the one whose oldest item has waited longest goes first, and among equals the one that was not
//     served for longest: a busy key can't starve a quiet one.
//   - The zero Config means the defaults that its fields name.
//
// A Batcher is a passive value. It has no goroutine, no timer and no clock: its owner holds the lock, passes the time,
// and sleeps until the time that Next tells. It is not safe for concurrent use.
//
// # Picture
//
//	                 ┌ contacts  ▢▢▢▢▢▢▢│▢▢▢ ┐                  the oldest ripe one
//	Add(key, item) ─►│ deals     ▢▢         │─ Ripe(now, skip) ───────────────────► Cut(key, now)
//	                 └ contracts ▢▢▢▢       ┘─ Next(skip): when to ask again
//
//	owner's loop:    lock; for a sender slot and a token: key, ok := Ripe → Cut → send
//	                 nothing ripe: unlock, wait for Next's time, an Add or a freed slot
//
// # Costs
//
// Add and Cut cost O(1) for each item, amortised. Ripe and Next look at every key that has items: keys are object
// types, of which an account has tens, and a scan of a short slice is faster than any heap that skip would have to
// search anyway. A key without items costs nothing: it is forgotten, and its memory with it. Items that went out are
// not referenced any more.
package batcher
