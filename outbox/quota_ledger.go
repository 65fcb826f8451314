package outbox

import (
	"math"
	"slices"
	"time"
)

// ledger is the row of table quota: what was granted and what was learned. It decides without a clock or a database, so
// that a test can put years of calls through it.
//
// Tokens are times at which a call may be made. They lie so that no time of the length window + margin holds more than
// the limit: a margin's worth of lateness and of unequal ways to the CRM can't bring more than the limit into any
// window there. As long as less than an eighth of the window is used, they are for now, so that a burst after a quiet
// time goes out at once; from there on they are spread evenly: a larger burst would be paid for, a window later, by a
// time without calls. Then single calls that come late for any other reason find room, too: evenly spread, a window
// holds a percent less than the limit.
type ledger struct {
	calls        []time.Time // the times of the tokens, oldest first; some lie ahead
	blockedUntil *time.Time
	blockedWhy   *string
	limitCalls   int
	limitWindow  time.Duration
	effective    int
	owed         float64 // tokens that were given back, and whose place nobody has had instead

	headerMax, headerRemaining *int
	headerAt                   *time.Time
	others                     float64 // calls in the window that are not ours, as of othersAt; they are believed less as time goes by
	othersAt                   *time.Time
	share                      float64 // of the limit, as of shareAt; it comes back to 1
	shareAt                    *time.Time
	refused                    int // calls in a row that were refused for the rate

	day                  *time.Time // the date, at midnight UTC
	dayEnds              *time.Time
	dayUsed, dayLimit    int
	dayMax, dayRemaining *int
	dayAt                *time.Time

	changedAt *time.Time // when it was last written, by the database's clock of then
}

// rewind keeps the ledger right when the database's clock was set back: all that it knows moves with the clock, as if
// no time had passed since it was written. So no call seems to be longer ago than it is, and none is waited for longer
// than it takes.
func (l *ledger) rewind(now time.Time) {
	if l.changedAt != nil && l.changedAt.After(now) {
		back := now.Sub(*l.changedAt)
		for i := range l.calls {
			l.calls[i] = l.calls[i].Add(back)
		}
		for _, at := range []**time.Time{&l.blockedUntil, &l.headerAt, &l.othersAt, &l.shareAt, &l.dayAt} {
			if *at != nil {
				moved := (*at).Add(back)
				*at = &moved
			}
		}
	}
	l.changedAt = &now
}

func (l *ledger) columns() []any {
	return []any{&l.calls, &l.blockedUntil, &l.blockedWhy, &l.limitCalls, &l.limitWindow, &l.effective, &l.owed, &l.headerMax, &l.headerRemaining,
		&l.headerAt, &l.others, &l.othersAt, &l.share, &l.shareAt, &l.refused, &l.day, &l.dayEnds,
		&l.dayUsed, &l.dayLimit, &l.dayMax, &l.dayRemaining, &l.dayAt, &l.changedAt}
}

func (l *ledger) values() []any {
	return []any{l.calls, l.blockedUntil, l.blockedWhy, l.limitCalls, l.limitWindow, l.effective, l.owed, l.headerMax, l.headerRemaining,
		l.headerAt, l.others, l.othersAt, l.share, l.shareAt, l.refused, l.day, l.dayEnds,
		l.dayUsed, l.dayLimit, l.dayMax, l.dayRemaining, l.dayAt, l.changedAt}
}

const (
	// tokenHorizon is how far ahead tokens are granted: a call that is known to be made needs no second question, and
	// what is learned meanwhile comes too late for it.
	tokenHorizon = 500 * time.Millisecond
	// burst is the part of a window that may be used at once.
	burst = 8
	// quicker is how much less than the even distance there may be between tokens: so times when nobody asked are
	// caught up with.
	quicker = 0.93
	// Fewer calls of others than these are noise: ours arrive in another order than that of their tokens.
	noise = 2
	// comeBack is in how many windows what was given up is taken up again.
	comeBack = 10
	// forgetOthers is in how many windows others that use all are forgotten if nothing is heard of them.
	forgetOthers = 2
	// cut is what is left of the share after a refusal that nothing explains.
	cut, smallestShare = 0.7, 0.05
	// Refusals that the headers explain, so many in a row, were not explained by them.
	believed = 10
	// dayStale is how long the CRM's own count of the day is believed, which may have turned since.
	dayStale = 15 * time.Minute
	// longestWait is how long to wait at most before asking again: a person may have changed something.
	longestWait = time.Minute
)

// margin is what a window is longer by than the CRM's: for calls that begin late, the first half, and that take longer
// than others to arrive, the second. Of ten seconds it is an eightieth.
func (q Quota) margin() time.Duration {
	return min(max(q.Window/80, 50*time.Millisecond), 500*time.Millisecond, q.Window/2)
}

// reach is how far back calls are remembered, to compare with what an answer tells that came late.
func (q Quota) reach() time.Duration { return q.Window + q.margin() + min(q.Window/2, 5*time.Second) }

// refund forgets tokens that were not used.
func (l *ledger) refund(unused []time.Time) {
	for _, at := range unused {
		if i, ok := slices.BinarySearchFunc(l.calls, at, time.Time.Compare); ok {
			l.calls = slices.Delete(l.calls, i, i+1)
			l.owed = min(l.owed+1, float64(l.effective)/4)
			l.dayUsed = max(l.dayUsed-1, 0)
		}
	}
}

// between counts the tokens of (from, to].
func (l *ledger) between(from, to time.Time) int {
	after := func(at time.Time) int {
		i, _ := slices.BinarySearchFunc(l.calls, at, func(c, at time.Time) int {
			if c.After(at) {
				return 1
			}
			return -1
		})
		return i
	}
	return after(to) - after(from)
}

// learn draws from an answer how many calls of the window are not ours.
func (l *ledger) learn(q Quota, s Seen, now time.Time) {
	if s.At.IsZero() || now.Sub(s.At).Abs() > q.reach()-q.Window { // too late to compare, or of another clock
		return
	}
	if !s.refused {
		l.refused = 0
	}
	if s.Max > 0 && (s.Window <= 0 || s.Window == q.Window) {
		l.headerMax, l.headerAt = &s.Max, &now
		if s.Remaining >= 0 {
			l.headerRemaining = &s.Remaining
			seen := float64(s.Max - s.Remaining - l.between(s.At.Add(-q.Window), s.At))
			l.others, l.othersAt = max(seen, l.othersNow(q, now), 0), &now
		}
	}
	if s.DailyMax > 0 && s.DailyRemaining >= 0 {
		l.dayMax, l.dayRemaining, l.dayAt = &s.DailyMax, &s.DailyRemaining, &now
	}
}

func (l *ledger) othersNow(q Quota, now time.Time) float64 {
	if l.othersAt == nil {
		return 0
	}
	return max(0, l.others-float64(q.Calls)*float64(now.Sub(*l.othersAt))/float64(q.Window)/forgetOthers)
}

func (l *ledger) shareNow(q Quota, now time.Time) float64 {
	if l.shareAt == nil {
		return 1
	}
	return min(1, l.share+float64(now.Sub(*l.shareAt))/float64(q.Window)/comeBack)
}

// limit is how many calls the fleet may make in a window: at least one, or nothing would be learned any more.
func (l *ledger) limit(q Quota, now time.Time) int {
	all := float64(q.Calls)
	if l.headerMax != nil {
		all = min(all, float64(*l.headerMax))
	}
	n := all * (1 - q.Reserve)
	if others := l.othersNow(q, now); others > noise {
		// By as much, about, may there be more of them when the call is made.
		n = min(n, all-others-math.Sqrt(others)/2)
	}
	return max(1, int(min(n, all*l.shareNow(q, now))+1e-9))
}

// take grants tokens.
func (l *ledger) take(q Quota, a Ask, now time.Time) (g Grant) {
	g = Grant{Now: now, Late: q.margin() / 2}
	l.turn(q, now)
	first, _ := slices.BinarySearchFunc(l.calls, now.Add(-q.reach()), time.Time.Compare)
	l.calls = slices.Delete(l.calls, 0, first)
	n, span := l.limit(q, now), q.Window+q.margin()
	l.limitCalls, l.limitWindow, l.effective = q.Calls, q.Window, n

	left, until := l.dayLeft(q, now)
	if left <= 0 {
		g.Day, g.Wait = true, until
		return g
	}
	soonest := now.Add(a.Lead)
	gap := time.Duration(quicker * float64(span) / float64(n))
	for range min(max(a.Want, 1), left) {
		at, owed, early := soonest, l.owed, true
		if count := len(l.calls); count > 0 {
			last := l.calls[count-1]
			recent := l.between(now.Add(-span), last) // all that can be in one window with it, made now or then
			if burst*recent >= n {
				if l.owed >= 1 {
					last = last.Add(gap / 2)
					l.owed -= 0.5
				} else {
					last = last.Add(gap)
				}
				early = recent < n && !last.After(soonest)
			}
			at = later(at, last)
			if count >= n {
				at = later(at, l.calls[count-n].Add(span))
			}
		}
		if l.blockedUntil != nil && l.blockedUntil.After(at) {
			at, early = *l.blockedUntil, false
		}
		at = at.Truncate(time.Microsecond) // as the database keeps it
		if ahead := at.Sub(soonest) - tokenHorizon; ahead > 0 {
			g.Wait, l.owed = min(ahead, longestWait), owed
			break
		}
		l.calls = append(l.calls, at)
		l.dayUsed++
		g.Tokens = append(g.Tokens, Token{At: at, In: at.Sub(now), Early: early})
	}
	if len(g.Tokens) > 0 {
		g.Wait = 0
	}
	return g
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// throttle takes in that a call was refused.
func (l *ledger) throttle(q Quota, r Refusal, now time.Time) {
	if !r.Seen.At.IsZero() {
		l.refund([]time.Time{r.Seen.At}) // what is refused does not count
	}
	l.refused++
	r.Seen.refused = true
	l.learn(q, r.Seen, now)
	if r.Seen.Max > 0 && r.Seen.Remaining == 0 && !r.Asked && l.refused <= believed {
		return
	}
	// Of many that are refused at once, one tells it all.
	if l.shareAt == nil || now.Sub(*l.shareAt) >= time.Second {
		l.share, l.shareAt = max(l.shareNow(q, now)*cut, smallestShare), &now
	}
	if until := now.Add(r.Wait); l.blockedUntil == nil || until.After(*l.blockedUntil) {
		l.blockedUntil, l.blockedWhy = &until, &r.Why
	}
}

// turn begins a new day. One that the clock has gone back to is none: what was used stays used.
func (l *ledger) turn(q Quota, now time.Time) {
	if today := dateOf(q.there(now)); l.day == nil || l.day.Before(today) {
		l.day, l.dayUsed, l.dayRemaining, l.dayAt = &today, 0, nil, nil
	} else {
		l.day = &today
	}
	midnight := q.midnight(now)
	l.dayEnds, l.dayLimit = &midnight, q.DayLimit()
}

// midnight is when the day ends.
func (q Quota) midnight(now time.Time) time.Time { return NextDay(q.there(now)) }

// there is the time by the account's clocks.
func (q Quota) there(now time.Time) time.Time {
	if q.Location == nil {
		return now.UTC()
	}
	return now.In(q.Location)
}

// dayLeft is how many calls the day has left, and if none how long to wait.
func (l *ledger) dayLeft(q Quota, now time.Time) (left int, until time.Duration) {
	left = math.MaxInt
	midnight := q.midnight(now).Sub(now)
	if q.Daily > 0 {
		if left = q.DayLimit() - l.dayUsed; left <= 0 {
			return 0, midnight
		}
	}
	if l.dayMax != nil && l.dayRemaining != nil && q.Reserve > 0 && now.Sub(*l.dayAt) < dayStale {
		theirs := int(math.Ceil(float64(*l.dayMax) * q.Reserve))
		if *l.dayRemaining <= theirs {
			return 0, min(midnight, l.dayAt.Add(dayStale).Sub(now))
		}
	}
	return left, 0
}

func (l *ledger) state(account string, now time.Time) QuotaState {
	q := Quota{Calls: l.limitCalls, Window: l.limitWindow}
	s := QuotaState{
		Account: account, Calls: l.limitCalls, Window: Duration(l.limitWindow), Effective: l.effective,
		HeaderMax: l.headerMax, HeaderLeft: l.headerRemaining, HeaderAt: l.headerAt,
		DayLimit: l.dayLimit, DayMax: l.dayMax, DayLeft: l.dayRemaining,
	}
	if l.limitWindow > 0 {
		s.Used = l.between(now.Add(-l.limitWindow), now)
		s.Others = int(math.Round(l.othersNow(q, now)))
	}
	if l.dayEnds != nil && now.Before(*l.dayEnds) {
		s.UsedToday = l.dayUsed
	}
	if l.blockedUntil != nil && l.blockedUntil.After(now) {
		s.BlockedUntil, s.BlockedFor = *l.blockedUntil, l.blockedUntil.Sub(now)
		if l.blockedWhy != nil {
			s.BlockedWhy = *l.blockedWhy
		}
	} else {
		s.Left = max(s.Effective-s.Used, 0)
	}
	return s
}
