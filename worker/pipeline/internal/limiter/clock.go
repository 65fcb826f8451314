package limiter

import "time"

// databaseClock turns the database's times into this process's. It keeps the answer of the database that took least, as
// the clocks differ by no more than half of that. It has no lock: it is a part of what Limiter.mu guards.
type databaseClock struct {
	local, database time.Time
	slack           time.Duration
}

// drift is how much two clocks may go apart in a second.
const drift = 200 * time.Microsecond

// learn takes in that between sent and received the database's time was now.
func (c *databaseClock) learn(sent, received, now time.Time) {
	slack := received.Sub(sent) / 2
	middle := sent.Add(slack)
	known := c.slack + time.Duration(middle.Sub(c.local).Seconds()*float64(drift))
	apart := now.Sub(c.database.Add(middle.Sub(c.local))).Abs()
	if c.local.IsZero() || slack <= known || apart > slack+known {
		*c = databaseClock{local: middle, database: now, slack: slack}
	}
}

// ours is this process's time for one of the database's.
func (c *databaseClock) ours(database time.Time) time.Time {
	return c.local.Add(database.Sub(c.database))
}
