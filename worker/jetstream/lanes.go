package jetstream

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/worker/event"
)

// A work queue gives each message to one consumer, so the filters of its consumers may not overlap. As long as no
// object type is restricted one consumer, the shared one, delivers all. From then on each object type has one of its
// own, a lane, and a paused one is simply not asked. The shared consumer then filters a subject that nobody publishes
// to, by which the fleet knows.
//
// The server's consumers only ever go forward: what a filter leaves out is passed over for good, whatever the filter is
// afterwards. So lanes are made anew and begin at the stream's first message, and the shared consumer gets its filter
// back only while the stream is empty. What the shared one has delivered and is not acked comes once more, by its lane;
// the outbox knows it.

// splitToken stands in the shared consumer's filter while object types have lanes. It is no object type.
const splitToken = "$apart"

const (
	laneRecent = 10 * time.Second // for how long a lane is waited for after the stream had a message of it
	laneKeep   = 5 * time.Minute  // for how long a lane is kept without any
	emptyWait  = 100 * time.Millisecond
	maxLanes   = 1000 // object types beyond that wait until lanes are removed
)

// lane is the consumer of an object type, or of subjects that name none.
type lane struct {
	objectType string // "" for none
	filter     string // the subjects that it delivers
	name       string // the consumer's
	next       string // the subject of its pull requests

	created   bool
	pendingAt time.Time // when the stream was last known to have a message of it
	empty     bool      // it had nothing to deliver
	askedAt   time.Time // when that was found out
	notBefore time.Time // not to be asked until then
}

// lanes are what a source knows of them, and the turn that each has. But for passedOver they are for one goroutine:
// Fetch's.
type lanes struct {
	*view
	limits   map[string]int // by object type: how many messages a fetch may bring; from Restrict
	keep     time.Duration  // laneKeep, less in tests
	idleLook time.Duration  // the constant, less in tests
	oldLane  time.Duration  // the constant, less in tests

	split  bool // the object types have lanes
	paused bool // a person has paused the shared consumer, and so all
	list   []*lane
	byName map[string]*lane

	lookedAt  time.Time // at what the server has
	cleanedAt time.Time // when lanes without messages were looked for
	failedAt  time.Time // when to split failed; zero if it didn't
	idle      bool      // the last fetch from the shared consumer brought nothing
	stuck     uint64    // the first message at the last look, if nobody will deliver it

	// passedOver are the consumers that have passed over messages, by their names; nil for none. New lanes deliver these.
	passedOver atomic.Pointer[[]string]
}

func newLanes(v *view) *lanes {
	return &lanes{view: v, keep: laneKeep, idleLook: idleLook, oldLane: oldLane, split: v.cfg.isSplit(v.shared.CachedInfo().Config),
		byName: map[string]*lane{}}
}

// open are the lanes that may have something which may be fetched. The first of them has waited longest for its turn.
func (l *lanes) open(now time.Time) (list []*lane) {
	for _, one := range l.list {
		limit, restricted := l.limits[one.objectType]
		if restricted && limit <= 0 {
			one.empty = false // unknown, when it is open again
			continue
		}
		if now.Sub(one.pendingAt) <= laneRecent && !now.Before(one.notBefore) {
			list = append(list, one)
		}
	}
	return list
}

// bound is a request within what may be fetched of the lane's object type.
func (l *lanes) bound(one *lane, r pullRequest) pullRequest {
	if limit, restricted := l.limits[one.objectType]; restricted {
		r.Batch = min(r.Batch, limit)
	}
	return r
}

// toBack puts a lane behind the others.
func (l *lanes) toBack(one *lane) {
	i := slices.Index(l.list, one)
	l.list = append(slices.Delete(l.list, i, i+1), one)
}

// fetched takes note of what a lane has brought.
func (l *lanes) fetched(one *lane, n int, empty bool, err error) {
	now := time.Now()
	one.empty, one.askedAt = empty, now
	if n > 0 {
		one.pendingAt = now
	}
	if errors.Is(err, errNoConsumer) { // removed by another worker, or all are
		one.created, one.notBefore = one.name == l.cfg.Consumer, now.Add(emptyWait)
		l.lookSoon()
	}
}

// lookSoon has the next fetch begin with a look at what the server has.
func (l *lanes) lookSoon() { l.lookedAt = time.Time{} }

// found takes note of a subject that the stream has messages of.
func (l *lanes) found(subject string, now time.Time) {
	one := l.cfg.laneOf(subject)
	if one == nil {
		return
	}
	if known := l.byName[one.name]; known != nil {
		one = known
	} else if len(l.list) < maxLanes {
		l.byName[one.name] = one
		l.list = append(l.list, one)
	}
	if now.Sub(one.pendingAt) > laneRecent {
		one.empty = false
	}
	one.pendingAt = now
}

// splitFilter is the shared consumer's while there are lanes.
func (c Config) splitFilter() string { return c.Prefix() + splitToken }

// isSplit reports whether the shared consumer's settings say that there are lanes.
func (c Config) isSplit(shared jetstream.ConsumerConfig) bool {
	f := filtersOf(shared)
	return len(f) == 1 && f[0] == c.splitFilter()
}

// laneOf makes the lane for a subject; nil if it can't have one.
func (c Config) laneOf(subject string) *lane {
	prefix := c.Prefix()
	token, rest, more := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
	one := &lane{filter: prefix + token}
	objectType, invalid := event.ObjectType(subject, prefix)
	switch {
	case token == "" || token == "*" || token == ">" || more && rest == "":
		return nil // NATS would read the filter otherwise
	case more:
		one.filter, one.name = prefix+"*.>", c.Consumer+"_"
	case token == splitToken:
		one.name, one.created = c.Consumer, true
	case invalid != "":
		one.name = fmt.Sprintf("%s_%x", c.Consumer, sha256.Sum256([]byte(token)))[:len(c.Consumer)+17]
	default:
		one.objectType, one.name = objectType, c.Consumer+"-"+objectType
	}
	one.next = c.nextSubject(one.name)
	return one
}

// isLane reports whether a consumer of the stream is one of ours.
func (c Config) isLane(info *jetstream.ConsumerInfo) bool {
	f, prefix := filtersOf(info.Config), c.Prefix()
	if len(f) != 1 || !covers(prefix+">", f[0]) || info.Name == c.Consumer {
		return false
	}
	one := c.laneOf(strings.Replace(f[0], "*.>", "x.x", 1))
	return one != nil && one.name == info.Name
}

// filtersOf are the subjects that a consumer delivers; none for all.
func filtersOf(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}
