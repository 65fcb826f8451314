package outbox

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// parameter appends a parameter of a statement in Postgres' binary format. pgx encodes all that it is given, but makes objects of
// each element of a slice on the way: 2,700 for an intent of 100 events.
type parameter func(buf []byte) []byte

func uuidOf(id uuid.UUID) parameter {
	return func(buf []byte) []byte { return append(buf, id[:]...) }
}

// array is an array of n elements of a type, each of which put appends, or reports false for a NULL.
func array(element uint32, n int, put func(buf []byte, i int) (_ []byte, ok bool)) parameter {
	return func(buf []byte) []byte {
		if n == 0 {
			return appendInt32s(buf, 0, 0, element) // of no dimensions
		}
		buf = appendInt32s(buf, 1, 1, element, uint32(n), 1) // of one dimension, perhaps with nulls, that begins at 1
		for i := range n {
			begin := len(buf)
			var ok bool
			if buf, ok = put(appendInt32s(buf, null), i); ok {
				putLength(buf[begin:], len(buf)-begin-4)
			}
		}
		return buf
	}
}

// null is the length of a NULL.
const null = 1<<32 - 1

func putLength(at []byte, n int) { binary.BigEndian.PutUint32(at, uint32(n)) }

func appendInt32s(buf []byte, list ...uint32) []byte {
	for _, n := range list {
		buf = binary.BigEndian.AppendUint32(buf, n)
	}
	return buf
}

func textArray(n int, at func(int) string) parameter {
	return array(pgtype.TextOID, n, func(buf []byte, i int) ([]byte, bool) { return append(buf, at(i)...), true })
}

// nullableTextArray has a NULL for each "".
func nullableTextArray(n int, at func(int) string) parameter {
	return array(pgtype.TextOID, n, func(buf []byte, i int) ([]byte, bool) {
		s := at(i)
		return append(buf, s...), s != ""
	})
}

func byteaArray(n int, at func(int) []byte) parameter {
	return array(pgtype.ByteaOID, n, func(buf []byte, i int) ([]byte, bool) { return append(buf, at(i)...), true })
}

// nullableByteaArray has a NULL for each nil.
func nullableByteaArray(n int, at func(int) []byte) parameter {
	return array(pgtype.ByteaOID, n, func(buf []byte, i int) ([]byte, bool) {
		b := at(i)
		return append(buf, b...), b != nil
	})
}

func uuidArray(n int, at func(int) uuid.UUID) parameter {
	return array(pgtype.UUIDOID, n, func(buf []byte, i int) ([]byte, bool) {
		id := at(i)
		return append(buf, id[:]...), true
	})
}

func int4Array(n int, at func(int) int) parameter {
	return array(pgtype.Int4OID, n, func(buf []byte, i int) ([]byte, bool) { return appendInt32s(buf, uint32(at(i))), true })
}

func int8Array(n int, at func(int) uint64) parameter {
	return array(pgtype.Int8OID, n, func(buf []byte, i int) ([]byte, bool) { return binary.BigEndian.AppendUint64(buf, at(i)), true })
}

func boolArray(n int, at func(int) bool) parameter {
	return array(pgtype.BoolOID, n, func(buf []byte, i int) ([]byte, bool) {
		if at(i) {
			return append(buf, 1), true
		}
		return append(buf, 0), true
	})
}

// intervalArray has microseconds, and no days or months.
func intervalArray(n int, at func(int) time.Duration) parameter {
	return array(pgtype.IntervalOID, n, func(buf []byte, i int) ([]byte, bool) {
		return appendInt32s(binary.BigEndian.AppendUint64(buf, uint64(at(i).Microseconds())), 0, 0), true
	})
}
