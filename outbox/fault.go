package outbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
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

// MayPass tells whether an error of Open, or another that a Postgres server gave, may be gone after some time: the server is not
// reachable, starts, recovers, or has no room. Waiting does not mend a wrong password, an unknown database or a missing right.
func MayPass(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return passingState(answer.Code) && !final(answer)
	}
	// None is the primary: a failover is under way.
	if errors.Is(err, errNoWrites) || errors.Is(err, errPooled) || errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, pgconn.ErrStandbyConnection) {
		return true
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// passingState knows SQLSTATEs by https://www.postgresql.org/docs/current/errcodes-appendix.html
func passingState(code string) bool {
	switch code {
	case readOnly, "55P03", "25P03", "25P04": // in a failover; a lock is held; a transaction that stalled, or took too long
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

// poolerState is the SQLSTATE of whatever PgBouncer itself has to say: a protocol violation, as which no server refuses anybody.
const poolerState = "08P01"

// poolerFinal are words by which PgBouncer says what waiting does not mend. It has no codes for them.
var poolerFinal = []string{"authentication failed", "no such user", "no such database", "does not exist", "unsupported startup parameter", "statement pooling mode"}

// final tells whether a pooler refuses for good.
func final(answer *pgconn.PgError) bool {
	return answer.Code == poolerState && slices.ContainsFunc(poolerFinal, func(words string) bool { return strings.Contains(answer.Message, words) })
}

// saysPooler tells whether an error has these words of a pooler's.
func saysPooler(err error, words string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && answer.Code == poolerState && strings.Contains(answer.Message, words)
}
