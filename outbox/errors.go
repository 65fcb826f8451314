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

// Fault is the kind of trouble that a database is in, as an error tells it. Its words are for people, and hold none of
// the error's.
type Fault string

const (
	Well     Fault = ""
	Away     Fault = "away"      // nobody answers there
	Starting Fault = "starting"  // or stops, or recovers
	Hangs    Fault = "hangs"     // it was reached, and a statement was not done in time
	Locked   Fault = "locked"    // somebody holds a lock on what is wanted
	ReadOnly Fault = "read_only" // a standby, or set so
	Full     Fault = "full"      // its disk is, or its memory
	Crowded  Fault = "crowded"   // all of its connections are taken
	Denied   Fault = "denied"    // it does not let us in, or not do what we want
	Failing  Fault = "failing"   // it answers with another error
)

// FaultOf tells what an error of the database means; Well for none.
func FaultOf(err error) Fault {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		return Well
	case errors.As(err, &answer):
		return faultOfState(answer.Code)
	case errors.Is(err, errNoWrites), errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return ReadOnly
	case errors.As(err, new(*pgconn.ConnectError)):
		return Away
	case errors.Is(err, context.DeadlineExceeded):
		return Hangs
	case IsTransient(err):
		return Away
	}
	return Failing
}

func faultOfState(code string) Fault {
	switch code {
	case readOnly:
		return ReadOnly
	case "53300":
		return Crowded
	case "55P03", "57014": // lock_timeout; statement_timeout, or a person cancelled it
		return Locked
	case denied:
		return Denied
	}
	switch code[:min(2, len(code))] {
	case "08":
		return Away
	case "28", "3D":
		return Denied
	case "53":
		return Full
	case "57":
		return Starting
	}
	return Failing
}

// denied is the SQLSTATE of a missing right.
const denied = "42501"

// What says in words what is wrong, as what Postgres does: "takes no writes".
func (f Fault) What() string {
	switch f {
	case Away:
		return "does not answer"
	case Starting:
		return "starts, stops or recovers"
	case Hangs:
		return "takes too long to answer"
	case Locked:
		return "keeps us waiting for a lock"
	case ReadOnly:
		return "takes no writes"
	case Full:
		return "has no room left"
	case Crowded:
		return "has no connection left"
	case Denied:
		return "refuses us"
	case Failing:
		return "answers with errors"
	}
	return ""
}

// Do says what a person can do about it.
func (f Fault) Do() string {
	switch f {
	case Away:
		return "see that the server runs, and that --database-url is right and lets this machine in; " +
			"all goes on by itself then"
	case Starting:
		return "wait a minute; if it lasts, read the server's log. All goes on by itself then"
	case Hangs:
		return "see what the server is at: type SELECT * FROM pg_stat_activity in psql; all goes on by itself then"
	case Locked:
		return "end who holds the lock: type SELECT pg_blocking_pids(pid), * FROM pg_stat_activity in psql, " +
			"then SELECT pg_terminate_backend(PID)"
	case ReadOnly:
		return "give the primary's address in --database-url (target_session_attrs=read-write finds it), " +
			"or take default_transaction_read_only back; all goes on by itself then"
	case Full:
		return "make room on the server's disk, or give it a larger one; all goes on by itself then. " +
			"Remove no file of Postgres' by hand"
	case Crowded:
		return "raise max_connections, or run fewer workers or other clients; a worker has up to 12"
	case Denied:
		return "check user and password in --database-url, and type 'crmintake migrate up --roles' as the tables' owner"
	case Failing:
		return "do what the error says, or look for it in the server's log"
	}
	return ""
}
