package outbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"

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
		return passingState(answer.Code)
	}
	// Of several hosts, none is the primary: a failover is under way.
	if errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, pgconn.ErrStandbyConnection) {
		return true
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn)
}

// passingState knows SQLSTATEs by https://www.postgresql.org/docs/current/errcodes-appendix.html
func passingState(code string) bool {
	switch code {
	case readOnly, "55P03": // in a failover; a lock is held
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
