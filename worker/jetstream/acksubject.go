package jetstream

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// metadata is what the subject that a message is acked on tells of it.
type metadata struct {
	stream     string
	seq        uint64
	deliveries uint64
	at         time.Time
}

// metadataOf is the client's Msg.Metadata for what is needed of it, at a third of the cost; it has the last word on what is odd.
func metadataOf(m *nats.Msg) (metadata, error) {
	if d, ok := parseAckSubject(m.Reply); ok {
		return d, nil
	}
	meta, err := m.Metadata()
	if err != nil {
		return metadata{}, fmt.Errorf("the message has no JetStream metadata: %w", err)
	}
	return metadata{meta.Stream, meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp}, nil
}

// parseAckSubject reads either form of it:
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<stream's sequence>.<consumer's sequence>.<time>.<pending>
//	$JS.ACK.<domain>.<account's hash>.<the same>, and perhaps .<more>
func parseAckSubject(subject string) (d metadata, ok bool) {
	const prefix = "$JS.ACK."
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return d, false
	}
	switch dots := strings.Count(rest, "."); {
	case dots >= 8:
		_, rest, _ = strings.Cut(rest, ".")
		_, rest, _ = strings.Cut(rest, ".")
	case dots != 6:
		return d, false
	}
	d.stream, rest, _ = strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	var numbers [4]uint64
	for i := range numbers {
		if numbers[i], rest, ok = cutNumber(rest); !ok {
			return d, false
		}
	}
	d.deliveries, d.seq, d.at = numbers[0], numbers[1], time.Unix(0, int64(numbers[3]))
	return d, true
}

// consumerOf tells which consumer a message is from, by the subject that it is acked on.
func consumerOf(subject string) string {
	tokens := strings.Split(subject, ".")
	switch {
	case len(tokens) == 9:
		return tokens[3]
	case len(tokens) >= 11:
		return tokens[5]
	}
	return ""
}

// cutNumber takes a number of 63 bits at most, and the dot behind it.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	const most = 19 // digits: so many are less than 64 bits
	for i := range len(s) {
		switch c := s[i] - '0'; {
		case c <= 9 && i < most:
			n = n*10 + uint64(c)
		case s[i] == '.' && i > 0 && n <= math.MaxInt64:
			return n, s[i+1:], true
		default:
			return 0, "", false
		}
	}
	return 0, "", false
}
