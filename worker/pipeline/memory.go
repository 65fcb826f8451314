package pipeline

import "crmintake/worker"

// How Config.Memory is shared out: a quarter is for rows that are claimed from the outbox, the rest for fresh events. Neither
// can so keep the other from being sent, and both together stay within the bound. Each event counts twice: as it came, and as
// it is sent, though the two may be the same bytes.

func (w *Worker) memoryForDue() int { return max(w.cfg.Memory/4, w.claimMost()) }

// fetchLeast lets the largest event that is valid come, with its subject and headers.
const fetchLeast = worker.MaxEventBytes + 4096

// roomFor says how many events, of most, and how many bytes a fetch may bring, so that all of it has room. Zero events mean
// that there is no room for a fetch. The caller holds mu.
func (w *Worker) roomFor(most int) (count, bytes int) {
	room := w.cfg.Memory - w.memoryForDue() - w.handBytes
	count = max(0, min(most, room/2/itemOverhead, (room-2*fetchLeast)/itemOverhead))
	return count, (room - count*itemOverhead) / 2
}

// claimPayload bounds the payload of one claim, so that several can be under way: 2 MiB of the default memory, which are full
// batches of events of 20 KiB.
func (w *Worker) claimPayload() int { return w.cfg.Memory / 32 }

// claimMost is the most that a claim takes up. It brings one row at least, however large.
func (w *Worker) claimMost() int {
	return max(2*w.claimPayload()+w.cfg.Batch.Size*itemOverhead, 2*worker.MaxEventBytes+itemOverhead)
}

// mayClaim tells whether there is room for another claim. The caller holds mu.
func (w *Worker) mayClaim() bool {
	return w.claims == 0 || w.dueBytes+w.claimMost() <= w.memoryForDue()
}

// reserve keeps room for a claim, until it is known what it takes up. The caller holds mu.
func (w *Worker) reserve() {
	w.claims++
	w.dueBytes += w.claimMost()
}

// claimed notes what a claim takes up indeed.
func (w *Worker) claimed(b *attempt, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dueBytes += bytes - b.bytes
	b.bytes = bytes
	w.wakeUp()
}

// unclaim forgets claimed rows.
func (w *Worker) unclaim(b *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims--
	w.dueBytes -= b.bytes
	w.wakeUp()
}
