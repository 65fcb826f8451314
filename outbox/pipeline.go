package outbox

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// statement is one of a pipeline.
type statement struct {
	sql    string
	params []array
}

// pipeline executes statements in one transaction and one round trip, as a pgx.Batch does. But each leaves as soon as it is
// written: a batch would gather all of them in one buffer, which grew by copies of itself to some 400 KB for ten intents
// and was a third of all that a worker allocated.
func (s *Store) pipeline(ctx context.Context, statements ...statement) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	prepared := conn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement // no, where a pooler forgets them
	names := make([]string, len(statements))
	if prepared {
		for i := range statements {
			sd, err := conn.Conn().Prepare(ctx, statements[i].sql, statements[i].sql) // once for each connection
			if err != nil {
				return err
			}
			names[i] = sd.Name
		}
	}
	buf := parameterBuffers.Get().(*[]byte)
	defer keepBuffer(buf)
	p := conn.Conn().PgConn().StartPipeline(ctx)
	for i := range statements {
		values := statements[i].encode(buf)
		if prepared {
			p.SendQueryPrepared(names[i], values, binaryFormat, nil)
		} else {
			p.SendQueryParams(statements[i].sql, values, nil, binaryFormat, nil)
		}
		if err := p.Flush(); err != nil {
			return err
		}
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for err == nil {
		var results any
		if results, err = p.GetResults(); results == nil {
			break
		}
		if r, ok := results.(*pgconn.ResultReader); ok {
			_, err = r.Close()
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == unknownStatement {
		_ = conn.Conn().Close(ctx) // a new one will prepare them again, where this one believes that it has them
	}
	return err
}

// unknownStatement is the SQLSTATE of a prepared statement that the session has lost.
const unknownStatement = "26000"

var parameterBuffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer keeps what holds the parameters of a group of the usual size, ten batches of 100 events of 400 bytes and more.
func keepBuffer(buf *[]byte) {
	const most = 1 << 20
	if cap(*buf) <= most {
		parameterBuffers.Put(buf)
	}
}

// encode writes the parameters into the buffer.
func (s *statement) encode(buf *[]byte) (values [][]byte) {
	values = make([][]byte, len(s.params))
	b := (*buf)[:0]
	for i, p := range s.params {
		begin := len(b)
		b = p(b)
		values[i] = b[begin:len(b):len(b)]
	}
	*buf = b
	return values
}

var binaryFormat = []int16{pgtype.BinaryFormatCode}
