package pgwire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// Statement is one of a pipeline.
type Statement struct {
	SQL    string
	Params []Param
	Row    func(values [][]byte) error // takes each row, in Postgres' binary format; nil if there are none
}

// Pipeline executes statements, and keeps its buffer for the next ones. Its zero value is ready.
type Pipeline struct {
	buffer atomic.Pointer[[]byte]
}

// Run executes statements in one transaction and one round trip: all of them, or none if there is an error. A context
// that ends closes the connection, and with it ends the server's work; so does an error that leaves it unusable.
func (p *Pipeline) Run(ctx context.Context, conn *pgx.Conn, statements ...Statement) error {
	names := make([]string, len(statements))
	if conn.Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement { // not where a pooler forgets them
		for i := range statements {
			sd, err := conn.Prepare(ctx, statements[i].SQL, statements[i].SQL) // once for each connection
			if err != nil {
				return err
			}
			names[i] = sd.Name
		}
	}
	buf := p.buffer.Swap(nil)
	if buf == nil {
		buf = new([]byte)
	}
	err, usable := exchange(ctx, conn.PgConn(), buf, names, statements)
	if cap(*buf) <= maxKeptBuffer {
		p.buffer.Store(buf)
	}
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == unknownStatement {
		usable = false // a new one will prepare them again, where this one believes that it has them
	}
	if !usable {
		_ = conn.Close(ctx)
	}
	return err
}

// unknownStatement is the SQLSTATE of a prepared statement that the session has lost.
const unknownStatement = "26000"

// exchange sends the statements and reads what they come to. After that the connection may not be usable any more.
func exchange(ctx context.Context, pg *pgconn.PgConn, buf *[]byte, names []string, statements []Statement) (err error, usable bool) {
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
			if e := statements[done].Row(m.Values); err == nil {
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
func write(conn io.Writer, buf *[]byte, names []string, statements []Statement) error {
	b := (*buf)[:0]
	for i := range statements {
		b = statements[i].Append(b, names[i])
	}
	b, _ = (&pgproto3.Sync{}).Encode(b)
	*buf = b
	_, err := conn.Write(b)
	return err
}

// maxKeptBuffer is as large as the intents of a usual group: 16 batches of 100 events of 400 bytes.
const maxKeptBuffer = 1 << 20

// Append appends the messages that execute a statement by its name, or by its text if it has none.
// See https://www.postgresql.org/docs/current/protocol-message-formats.html
func (s *Statement) Append(buf []byte, name string) []byte {
	if name == "" {
		buf, _ = (&pgproto3.Parse{Query: s.SQL}).Encode(buf)
	}
	buf = append(buf, 'B') // Bind
	begin := len(buf)
	buf = append(buf, 0, 0, 0, 0) // its length
	buf = append(buf, 0)          // the portal without a name
	buf = append(append(buf, name...), 0)
	buf = appendInt16s(buf, 1, pgtype.BinaryFormatCode, len(s.Params)) // all are binary
	for _, p := range s.Params {
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
