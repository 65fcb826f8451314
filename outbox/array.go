package outbox

import (
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// array writes an array in Postgres' binary format: a parameter of the statements that all events go through. pgx can encode slices
// by itself, but makes objects of each element on the way: 2,700 for an intent of 100 events, where this makes a hundred.
type array func(buf []byte) []byte

// arrayHead begins an array of n elements of a type, which take up so many bytes; each follows with its length before it.
func arrayHead(buf []byte, element uint32, n, bytes int) []byte {
	const head, length = 20, 4
	buf = slices.Grow(buf, head+n*length+bytes)
	if n == 0 {
		return appendInt32s(buf, 0, 0, element) // of no dimensions
	}
	return appendInt32s(buf, 1, 1, element, uint32(n), 1) // of one dimension, perhaps with nulls, that begins at 1
}

func appendInt32s(buf []byte, list ...uint32) []byte {
	for _, n := range list {
		buf = binary.BigEndian.AppendUint32(buf, n)
	}
	return buf
}

func textArray(n int, at func(int) string) array { return bytesArray(pgtype.TextOID, n, at, false) }

// nullableTextArray has a NULL for each "".
func nullableTextArray(n int, at func(int) string) array {
	return bytesArray(pgtype.TextOID, n, at, true)
}

func byteaArray(n int, at func(int) []byte) array { return bytesArray(pgtype.ByteaOID, n, at, false) }

func bytesArray[T ~string | ~[]byte](element uint32, n int, at func(int) T, nulls bool) array {
	return func(buf []byte) []byte {
		size := 0
		for i := range n {
			size += len(at(i))
		}
		buf = arrayHead(buf, element, n, size)
		for i := range n {
			if e := at(i); nulls && len(e) == 0 {
				buf = appendInt32s(buf, 0xffffffff)
			} else {
				buf = append(appendInt32s(buf, uint32(len(e))), e...)
			}
		}
		return buf
	}
}

func uuidArray(n int, at func(int) uuid.UUID) array {
	return func(buf []byte) []byte {
		buf = arrayHead(buf, pgtype.UUIDOID, n, 16*n)
		for i := range n {
			e := at(i)
			buf = append(appendInt32s(buf, 16), e[:]...)
		}
		return buf
	}
}

func int4Array(n int, at func(int) int) array {
	return func(buf []byte) []byte {
		buf = arrayHead(buf, pgtype.Int4OID, n, 4*n)
		for i := range n {
			buf = appendInt32s(buf, 4, uint32(at(i)))
		}
		return buf
	}
}

func int8Array(n int, at func(int) uint64) array {
	return func(buf []byte) []byte {
		buf = arrayHead(buf, pgtype.Int8OID, n, 8*n)
		for i := range n {
			buf = binary.BigEndian.AppendUint64(appendInt32s(buf, 8), at(i))
		}
		return buf
	}
}

// arrays is a type of arrays whose values may write themselves.
type arrays struct{ pgtype.Codec }

func (c arrays) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(array); ok && format == pgtype.BinaryFormatCode {
		return byItself{}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

type byItself struct{}

func (byItself) Encode(value any, buf []byte) ([]byte, error) { return value.(array)(buf), nil }

// takeArrays makes a connection take arrays.
func takeArrays(conn *pgx.Conn) {
	m := conn.TypeMap()
	for _, oid := range []uint32{pgtype.TextArrayOID, pgtype.ByteaArrayOID, pgtype.UUIDArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID} {
		t, _ := m.TypeForOID(oid)
		m.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: arrays{t.Codec}})
	}
}
