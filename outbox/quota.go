package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Quotas is the fleet's quota of calls, of each account.
type Quotas struct{ pool *Pool }

// Quota is what one account allows the fleet: Calls in any Window. Quotas of one account must agree.
type Quota struct {
	Account string
	Calls   int
	Window  time.Duration
	// Reserve is the share of it, and of Daily, that is left to other apps: from 0 to less than 1.
	Reserve float64
	// Daily is how many calls the fleet makes a day; 0 for any number. A day ends with NextDay in Location; nil is UTC.
	Daily    int
	Location *time.Location
}

// DayLimit is how many calls the fleet may make in a day; 0 for any number.
func (q Quota) DayLimit() int { return int(float64(q.Daily)*(1-q.Reserve) + 1e-9) }

// QuotaAccount names the account of a deployment, which calls no other.
const QuotaAccount = "default"

// Ask is a worker's request for tokens.
type Ask struct {
	Want int           // how many at most; at least 1
	Lead time.Duration // how soon the first one could be used
	// Unused are the times of tokens that were granted and that no call was made with.
	Unused []time.Time
	// Seen is what the newest answer told, if anything.
	Seen Seen
}

// Seen is what the headers of a call's answer told. Numbers are -1 where nothing was told; the zero value tells
// nothing.
type Seen struct {
	At             time.Time // of the token that the call was made with
	Max, Remaining int       // calls of the rolling window
	Window         time.Duration
	DailyMax       int
	DailyRemaining int
	refused        bool // the call itself is in none of the counts
}

// Token is the right to make one call, at At or shortly after.
type Token struct {
	At time.Time     // by the database's clock
	In time.Duration // from Grant.Now to At
	// Early tells that the call may be made before At, too: the window is far from full.
	Early bool
}

// Grant answers an Ask.
type Grant struct {
	Now    time.Time // by the database's clock
	Tokens []Token   // in the order of their times
	Wait   time.Duration
	// Late is how long after At a call may begin. After that its token is worth nothing.
	Late time.Duration
	// Day is when the day's calls were used up; Wait is until there may be more then.
	Day bool
}

// Take grants tokens, or tells how long to wait before asking again. No window of the CRM's holds more calls than q
// allows, whoever makes them, if each is made from its token's time until Grant.Late after it, and takes up to as much
// longer than another one to arrive.
func (s *Quotas) Take(ctx context.Context, q Quota, a Ask) (g Grant, err error) {
	err = s.change(ctx, q.Account, func(l *ledger, now time.Time) {
		l.refund(a.Unused)
		l.learn(q, a.Seen, now)
		g = l.take(q, a, now)
	})
	return g, err
}

// Refusal is a call that the CRM refused for the rate.
type Refusal struct {
	Seen  Seen
	Wait  time.Duration // how long to make no calls
	Asked bool          // the answer itself asks for that wait
	Why   string
}

// Throttle tells of a call that the CRM refused. If the headers explain it, because others have used what this fleet
// did not, then what is left for it is known, and calls go on at that rate; else, and where the answer asks for it,
// none are made for the wait, and fewer after.
func (s *Quotas) Throttle(ctx context.Context, q Quota, r Refusal) error {
	r.Why = text(r.Why)
	return s.change(ctx, q.Account, func(l *ledger, now time.Time) { l.throttle(q, r, now) })
}

const (
	lockQuota = `INSERT INTO quota (account) VALUES ($1) ON CONFLICT DO NOTHING`
	// The clock is read above the lock, when it is had.
	readQuota = `SELECT q.*, clock_timestamp() FROM (SELECT ` + ledgerColumns + ` FROM quota WHERE account = $1 FOR UPDATE) q`
	// A worker that stops here, because its machine does, must not keep the fleet waiting.
	boundQuota    = `SET LOCAL idle_in_transaction_session_timeout = '2s'`
	ledgerColumns = `calls, nullif(blocked_until, '-infinity'), blocked_why, limit_calls, limit_window, effective, owed, header_max,
  header_remaining, header_at, others, others_at, share, share_at, refused, day, day_ends, day_used, day_limit, day_max, day_remaining, day_at,
  changed_at`
	writeQuota = `UPDATE quota SET calls = $2, blocked_until = coalesce($3, '-infinity'::timestamptz), blocked_why = $4, limit_calls = $5,
  limit_window = $6, effective = $7, owed = $8, header_max = $9, header_remaining = $10, header_at = $11, others = $12, others_at = $13,
  share = $14, share_at = $15, refused = $16, day = $17, day_ends = $18, day_used = $19, day_limit = $20, day_max = $21,
  day_remaining = $22, day_at = $23, changed_at = $24
WHERE account = $1`
)

// withQuota changes an account's row under its lock, in two round trips.
func (s *Quotas) change(ctx context.Context, account string, change func(l *ledger, now time.Time)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("outbox: quota: %w", err)
		}
	}()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer func() {
		if err != nil && !conn.Conn().IsClosed() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, rollback := conn.Exec(ctx, `ROLLBACK`)
			err = errors.Join(err, rollback)
		}
	}()
	var l ledger
	var now time.Time
	var begin pgx.Batch
	begin.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
	if s.pool.pooled.Load() {
		begin.Queue(s.pool.local())
	}
	begin.Queue(boundQuota)
	begin.Queue(lockQuota, account)
	begin.Queue(readQuota, account).QueryRow(func(row pgx.Row) error {
		return row.Scan(append(l.columns(), &now)...)
	})
	if err := conn.SendBatch(ctx, &begin).Close(); err != nil {
		return err
	}
	l.rewind(now)
	change(&l, now)
	var end pgx.Batch
	end.Queue(writeQuota, append([]any{account}, l.values()...)...)
	end.Queue(`COMMIT`)
	return conn.SendBatch(ctx, &end).Close()
}

// Resumed tells whether a person has ended, so long ago or later, the wait that an answer asked for.
func (s *Quotas) Resumed(ctx context.Context, account string, ago time.Duration) (resumed bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM quota WHERE account = $1 AND resumed_at >= clock_timestamp() - $2::interval)`,
		account, ago).Scan(&resumed)
	if err != nil {
		return false, fmt.Errorf("outbox: quota: %w", err)
	}
	return resumed, nil
}
