package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// statement is one of a pipeline.
type statement struct {
	sql    string
	params []parameter
	row    func(values [][]byte) error // takes a row that it returns, in Postgres' binary format; nil if it returns none
}

// lockWait is the statement that bounds how long those after it in a transaction wait for a lock that somebody holds.
type lockWait string

const (
	// waitShort is for a group. All of them would wait for the lock of one.
	waitShort lockWait = `SELECT set_config('lock_timeout', '200ms', true)`
	// waitLong ends before the worker gives up a try, so that it learns why.
	waitLong lockWait = `SELECT set_config('lock_timeout', '10s', true)`
)

func (w lockWait) statement() statement {
	return statement{sql: string(w), row: func([][]byte) error { return nil }}
}

// pipeline executes statements in one transaction and one round trip, as a pgx.Batch does. But it writes them to the
// connection by itself, from a buffer that is used again: pgx gathers all of a batch in one that is new each time, and
// grows by copies of itself to some 400 KB for ten intents; that was a third of all that a worker allocated.
func (s *Batches) pipeline(ctx context.Context, statements ...statement) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if s.pool.pooled.Load() {
		told := statement{sql: s.pool.local(), row: func([][]byte) error { return nil }}
		statements = append([]statement{{sql: readCommitted}, told}, statements...)
	}
	names := make([]string, len(statements))
	if conn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement { // not where a pooler forgets them
		for i := range statements {
			sd, err := conn.Conn().Prepare(ctx, statements[i].sql, statements[i].sql) // once for each connection
			if err != nil {
				return err
			}
			names[i] = sd.Name
		}
	}
	buf := s.buffer.Swap(nil)
	if buf == nil {
		buf = new([]byte)
	}
	err, usable := exchange(ctx, conn.Conn().PgConn(), buf, names, statements)
	if cap(*buf) <= maxKeptBuffer {
		s.buffer.Store(buf)
	}
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == unknownStatement {
		usable = false // a new one will prepare them again, where this one believes that it has them
	}
	if !usable {
		_ = conn.Conn().Close(ctx)
	}
	return err
}

// unknownStatement is the SQLSTATE of a prepared statement that the session has lost.
const unknownStatement = "26000"

// exchange sends the statements and reads what they come to. After that the connection may not be usable any more.
func exchange(ctx context.Context, pg *pgconn.PgConn, buf *[]byte, names []string, statements []statement) (err error, usable bool) {
	conn := pg.Conn()
	// A deadline would do, but pgx takes that for something that may pass, and leaves the server at its work. What it
	// finds closed it cancels, and its pool has no room for another connection until that is done.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if !stop() { // it is closed, or will be
			usable = false
			if err != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
		}
	}()
	if err = write(conn, buf, names, statements); err != nil {
		_ = conn.Close()
	}
	for done := 0; ; {
		// Its context would be watched anew for each message, and is watched already.
		message, e := pg.ReceiveMessage(context.Background())
		if e != nil {
			return errors.Join(err, e), false
		}
		switch m := message.(type) {
		case *pgproto3.DataRow:
			if e := statements[done].row(m.Values); err == nil {
				err = e
			}
		case *pgproto3.CommandComplete:
			done++
		case *pgproto3.ErrorResponse: // what follows is skipped, and all is undone
			err = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return err, true
		}
	}
}

// write writes the statements, and has the server commit, in one piece: what stops between two would leave it waiting
// with locks. The server reads on meanwhile, for its answers are too few to wait for us to read them.
func write(conn io.Writer, buf *[]byte, names []string, statements []statement) error {
	b := (*buf)[:0]
	for i := range statements {
		b = statements[i].append(b, names[i])
	}
	b, _ = (&pgproto3.Sync{}).Encode(b)
	*buf = b
	_, err := conn.Write(b)
	return err
}

// maxKeptBuffer is as large as the intents of a usual group: 16 batches of 100 events of 400 bytes.
const maxKeptBuffer = 1 << 20

// append appends the messages that execute a statement by its name, or by its text if it has none.
// See https://www.postgresql.org/docs/current/protocol-message-formats.html
func (s *statement) append(buf []byte, name string) []byte {
	if name == "" {
		buf, _ = (&pgproto3.Parse{Query: s.sql}).Encode(buf)
	}
	buf = append(buf, 'B') // Bind
	begin := len(buf)
	buf = append(buf, 0, 0, 0, 0) // its length
	buf = append(buf, 0)          // the portal without a name
	buf = append(append(buf, name...), 0)
	buf = appendInt16s(buf, 1, pgtype.BinaryFormatCode, len(s.params)) // all are binary
	for _, p := range s.params {
		at := len(buf)
		buf = p(append(buf, 0, 0, 0, 0))
		putLength(buf[at:], len(buf)-at-4)
	}
	buf = appendInt16s(buf, 1, pgtype.BinaryFormatCode) // and so are all results
	putLength(buf[begin:], len(buf)-begin)
	buf, _ = (&pgproto3.Execute{}).Encode(buf)
	return buf
}

func appendInt16s(buf []byte, list ...int) []byte {
	for _, n := range list {
		buf = binary.BigEndian.AppendUint16(buf, uint16(n))
	}
	return buf
}
