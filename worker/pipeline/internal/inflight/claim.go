package inflight

import "crmintake/worker"

// memoryForClaims is the part of the memory that is for claimed rows.
func (s *Set) memoryForClaims() int { return max(s.cfg.Memory/4, s.maxClaim()) }

// ClaimPayload bounds the payload of one claim, so that several can be under way: 2 MiB of the default memory, which
// are full batches of events of 20 KiB.
func (s *Set) ClaimPayload() int { return s.cfg.Memory / 32 }

// maxClaim is the most that a claim takes up. It brings one row at least, however large.
func (s *Set) maxClaim() int {
	return max(2*s.ClaimPayload()+s.cfg.BatchSize*Overhead, 2*worker.MaxEventBytes+Overhead)
}

// MayClaim reports whether there is room for another claim. There always is for one.
func (s *Set) MayClaim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims == 0 || s.claimed+s.maxClaim() <= s.memoryForClaims()
}

// Claim is the memory of the rows of one claim. One goroutine may use it.
type Claim struct {
	set   *Set
	bytes int
}

// Claim reserves the most that a claim may take up.
func (s *Set) Claim() *Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Claim{s, s.maxClaim()}
	s.claims++
	s.claimed += c.bytes
	return c
}

// Took frees what the claimed rows, with so many bytes of payload, don't take up.
func (c *Claim) Took(rows, payload int) {
	bytes := 2*payload + rows*Overhead
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.set.claimed += bytes - c.bytes
	c.bytes = bytes
}

// Release frees the rest.
func (c *Claim) Release() {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.set.claims--
	c.set.claimed -= c.bytes
}
