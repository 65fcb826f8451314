package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// QuotaState is how an account's quota stands at a moment, by the database's clock. Operators find the same in the
// table quota.
type QuotaState struct {
	Account string   `json:"-"`
	Calls   int      `json:"calls"`  // in any Window, as the last worker that asked was told
	Window  Duration `json:"window"` // 0 if none has asked yet
	// Effective of these are the fleet's: less what is reserved, what others use, and what caution takes. Used are
	// those of the window that ends now, and Left what may be called at once; none while Blocked.
	Effective int `json:"effective"`
	Used      int `json:"used"`
	Others    int `json:"others"` // calls that other apps made in the window, as far as the answers' headers tell
	Left      int `json:"left"`

	BlockedUntil time.Time     `json:"blocked_until,omitzero"` // an answer asked for no call before; zero: calls are made
	BlockedFor   time.Duration `json:"-"`                      // until then
	BlockedWhy   string        `json:"blocked_why,omitempty"`

	UsedToday int  `json:"used_today"`          // by the fleet, since midnight in the account's zone, by its own count
	DayLimit  int  `json:"day_limit,omitempty"` // what the fleet may use of a day; 0 for any number
	DayMax    *int `json:"day_max,omitempty"`   // the account's day and what is left of it, by the newest answer; nil: never
	DayLeft   *int `json:"day_left,omitempty"`

	HeaderMax  *int       `json:"-"` // the account's window and what was left of it, by the newest answer; nil: never
	HeaderLeft *int       `json:"-"`
	HeaderAt   *time.Time `json:"-"`
}

// Duration is a length of time that JSON has as Go writes it: "10s".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// State returns how an account's quota stands. It takes no lock. ok is false before the first call.
func (s *Quotas) State(ctx context.Context, account string) (state QuotaState, ok bool, err error) {
	state, ok, err = quotaState(ctx, s.pool, account)
	if err != nil {
		return QuotaState{}, false, fmt.Errorf("outbox: quota: %w", err)
	}
	return state, ok, nil
}

func quotaState(ctx context.Context, q querier, account string) (state QuotaState, ok bool, err error) {
	var l ledger
	var now time.Time
	err = q.QueryRow(ctx, `SELECT `+ledgerColumns+`, clock_timestamp() FROM quota WHERE account = $1`, account).
		Scan(append(l.columns(), &now)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return QuotaState{}, false, nil
	}
	if err != nil {
		return QuotaState{}, false, err
	}
	l.rewind(now)
	return l.state(account, now), true, nil
}
