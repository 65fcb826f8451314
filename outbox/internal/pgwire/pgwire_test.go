package pgwire

import (
	"slices"
	"testing"
)

// What stops between two pieces would leave the server waiting with locks.
func TestPipelineIsWrittenInOnePiece(t *testing.T) {
	var w pieces
	one := Statement{SQL: `SELECT 1`}
	if err := write(&w, new([]byte), []string{"a", "b", "c"}, []Statement{one, one, one}); err != nil {
		t.Fatal(err)
	}
	if len(w) != 1 || w[0][len(w[0])-5] != 'S' {
		t.Errorf("%d pieces, %q", len(w), w)
	}
}

// pieces are what was written.
type pieces [][]byte

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, slices.Clone(b))
	return len(b), nil
}
