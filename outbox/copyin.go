package outbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// uniqueViolation is the SQLSTATE of a key that is there already.
const uniqueViolation = "23505"

// copyIn commits intents, attempts with their events, in one simple query: one transaction, one round trip. COPY costs the
// server half of what INSERT does, but can't skip what is there already; it ends with errApart then, and nothing is changed.
func (s *Store) copyIn(ctx context.Context, intents []*intent) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	attempts, err := attemptsSQL(pg.EscapeString, intents)
	if err != nil {
		return errApart // the session writes literals in another way
	}
	buf := copyBuffers.Get().(*copyBuffer)
	_, err = pg.CopyFrom(ctx, bytes.NewReader(buf.encode(intents)), attempts+copySending)
	if err == nil {
		buf.release() // after an error that ended the connection, pgx may still be reading from it
	}
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == uniqueViolation {
		return errApart
	}
	return err
}

// attemptsSQL writes the insert of attempts without parameters, which a simple query can't have.
func attemptsSQL(escape func(string) (string, error), intents []*intent) (string, error) {
	var b strings.Builder
	b.WriteString("INSERT INTO attempt (id, kind, object_type, worker, lease_until, event_ids, inputs) VALUES ")
	for n, in := range intents {
		ids := make([]byte, 0, 32*len(in.events))
		for i := range in.events {
			ids = append(ids, `,"`...)
			ids = append(ids, arrayQuoter.Replace(in.events[i].ID)...)
			ids = append(ids, '"')
		}
		literals := []string{in.attempt.ObjectType, in.attempt.Worker, string(ids[1:])}
		for i := range literals {
			var err error
			if literals[i], err = escape(literals[i]); err != nil {
				return "", err
			}
		}
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "('%s', 'create', '%s', '%s', now() + interval '%d microseconds', '{%s}', %d)",
			in.attempt.ID, literals[0], literals[1], in.attempt.Lease.Microseconds(), literals[2], len(in.events))
	}
	return b.String(), nil
}

var arrayQuoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

const copySending = `;
COPY outbox (event_id, object_type, status, payload, content_hash, attempt_id, stream, stream_seq) FROM STDIN (FORMAT binary)`

// copyBuffer holds rows in the format that COPY reads.
type copyBuffer struct {
	b    []byte
	rows []copyRow
}

type copyRow struct {
	*Event
	attempt *Attempt
}

var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

// maxKeptCopy bounds what a pooled buffer keeps: enough for a usual group.
const maxKeptCopy = 1 << 20

func (c *copyBuffer) release() {
	clear(c.rows)
	if cap(c.b) <= maxKeptCopy {
		copyBuffers.Put(c)
	}
}

// encode writes all events as COPY's binary format wants them: a header, each row with its number of fields, each field
// with its length, and a trailer. Rows go in the order of event ids, so that workers with overlapping batches wait for each
// other and don't deadlock.
func (c *copyBuffer) encode(intents []*intent) []byte {
	c.rows = c.rows[:0]
	for _, in := range intents {
		for i := range in.events {
			c.rows = append(c.rows, copyRow{&in.events[i], &in.attempt})
		}
	}
	slices.SortFunc(c.rows, func(x, y copyRow) int { return cmp.Compare(x.ID, y.ID) })
	const fields = 8
	b := append(c.b[:0], "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for _, r := range c.rows {
		b = binary.BigEndian.AppendUint16(b, fields)
		b = appendField(b, r.ID)
		b = appendField(b, r.attempt.ObjectType)
		b = appendField(b, Sending)
		b = appendField(b, r.Payload)
		b = appendField(b, r.ContentHash[:])
		b = appendField(b, r.attempt.ID[:])
		b = appendField(b, r.Stream)
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, r.StreamSeq)
	}
	c.b = append(b, 0xff, 0xff)
	return c.b
}

func appendField[T ~string | ~[]byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}
