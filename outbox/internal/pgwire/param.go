package pgwire

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// Param appends a parameter of a statement in Postgres' binary format. It may be called again, and appends the same
// then.
type Param func(buf []byte) []byte

// UUID is a uuid.
func UUID(id uuid.UUID) Param {
	return func(buf []byte) []byte { return append(buf, id[:]...) }
}

// array is an array of n elements of a type, each of which put appends, or reports false for a NULL.
func array(element uint32, n int, put func(buf []byte, i int) (_ []byte, ok bool)) Param {
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

// TextArray is a text[] of n elements.
func TextArray(n int, at func(int) string) Param {
	return array(pgtype.TextOID, n, func(buf []byte, i int) ([]byte, bool) { return append(buf, at(i)...), true })
}

// NullableTextArray is TextArray with a NULL for each "".
func NullableTextArray(n int, at func(int) string) Param {
	return array(pgtype.TextOID, n, func(buf []byte, i int) ([]byte, bool) {
		s := at(i)
		return append(buf, s...), s != ""
	})
}

// ByteaArray is a bytea[] of n elements; nil is an empty one.
func ByteaArray(n int, at func(int) []byte) Param {
	return array(pgtype.ByteaOID, n, func(buf []byte, i int) ([]byte, bool) { return append(buf, at(i)...), true })
}

// NullableByteaArray is ByteaArray with a NULL for each nil.
func NullableByteaArray(n int, at func(int) []byte) Param {
	return array(pgtype.ByteaOID, n, func(buf []byte, i int) ([]byte, bool) {
		b := at(i)
		return append(buf, b...), b != nil
	})
}

// UUIDArray is a uuid[] of n elements.
func UUIDArray(n int, at func(int) uuid.UUID) Param {
	return array(pgtype.UUIDOID, n, func(buf []byte, i int) ([]byte, bool) {
		id := at(i)
		return append(buf, id[:]...), true
	})
}

// Int4Array is an int4[] of n elements.
func Int4Array(n int, at func(int) int) Param {
	return array(pgtype.Int4OID, n, func(buf []byte, i int) ([]byte, bool) { return appendInt32s(buf, uint32(at(i))), true })
}

// Int8Array is an int8[] of n elements, each of whose bits stay as they are.
func Int8Array(n int, at func(int) uint64) Param {
	return array(pgtype.Int8OID, n, func(buf []byte, i int) ([]byte, bool) { return binary.BigEndian.AppendUint64(buf, at(i)), true })
}

// BoolArray is a bool[] of n elements.
func BoolArray(n int, at func(int) bool) Param {
	return array(pgtype.BoolOID, n, func(buf []byte, i int) ([]byte, bool) {
		if at(i) {
			return append(buf, 1), true
		}
		return append(buf, 0), true
	})
}

// IntervalArray is an interval[] of n elements, to the microsecond, without days or months.
func IntervalArray(n int, at func(int) time.Duration) Param {
	return array(pgtype.IntervalOID, n, func(buf []byte, i int) ([]byte, bool) {
		return appendInt32s(binary.BigEndian.AppendUint64(buf, uint64(at(i).Microseconds())), 0, 0), true
	})
}
