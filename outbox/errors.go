package outbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// DataState returns the SQLSTATE of an error by which the server refused what it was to write, for its content, so
// that trying again does not help; "" for any other error.
func DataState(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || len(answer.Code) != 5 {
		return ""
	}
	switch answer.Code[:2] {
	case "22", "23", "54": // data exception, integrity constraint violation, program limit exceeded
		return answer.Code
	}
	return ""
}

// IsTransient tells whether an error of Open, or another that a Postgres server gave, may be gone after some time: the
// server is not reachable, starts, recovers, or has no room. Waiting does not mend a wrong password, an unknown
// database or a missing right.
func IsTransient(err error) bool {
	if errors.Is(err, ErrPooler) {
		return false
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return passingState(answer.Code) && DenialOf(err) == NotDenied
	}
	// None is the primary: a failover is under way.
	for _, one := range []error{errNoWrites, errPooled, pgconn.ErrReadOnlyConnection, pgconn.ErrStandbyConnection} {
		if errors.Is(err, one) {
			return true
		}
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// passingState knows SQLSTATEs by https://www.postgresql.org/docs/current/errcodes-appendix.html
func passingState(code string) bool {
	switch code {
	case readOnly, "55P03", "25P03", "25P04": // in a failover; a lock is held; a transaction stalled, or took too long
		return true
	case "57P04": // the database was dropped
		return false
	}
	switch code[:min(2, len(code))] {
	case "08", // the connection
		"40", // rolled back: a conflict with another transaction
		"53", // too many connections, or the disk is full
		"57", // it starts, recovers or stops
		"58": // a system call failed
		return true
	}
	return false
}

// ErrPooler says that there is a pooler which can't be worked with as it is, or as the address wants; the error has
// what to change.
var ErrPooler = errors.New("a pooler is in between")

// Denial is for what a connection is refused, by a server or a pooler in front of it, and will be again.
type Denial int

// The denials.
const (
	NotDenied      Denial = iota // or for something else
	BadLogin                     // user or password
	NoSuchDatabase               // the database's name
	BadParameter                 // a setting in the address
)

// poolerState is the SQLSTATE of whatever PgBouncer itself has to say: a protocol violation, as which no server refuses
// anybody.
const poolerState = "08P01"

// poolerDenials are by words of PgBouncer's: it has no codes for them.
var poolerDenials = []struct {
	words, end string
	is         Denial
}{
	{"authentication failed", "", BadLogin}, {"no such user", "", BadLogin}, {"role ", "does not exist", BadLogin},
	{"no such database", "", NoSuchDatabase}, {"database ", "does not exist", NoSuchDatabase},
	{"unsupported startup parameter", "", BadParameter},
}

// DenialOf tells for what err refuses a connection.
func DenialOf(err error) Denial {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return NotDenied
	}
	switch answer.Code {
	case "28P01", "28000": // the password or, with other ways to prove oneself, the user
		return BadLogin
	case "3D000":
		return NoSuchDatabase
	case poolerState:
		for _, r := range poolerDenials {
			if strings.Contains(answer.Message, r.words) && strings.HasSuffix(answer.Message, r.end) {
				return r.is
			}
		}
	}
	return NotDenied
}
