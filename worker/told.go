package worker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
)

// unwell is what the last calls in a row came to that brought no answer of the CRM's about their events. Worker.mu guards it.
type unwell struct {
	since time.Time // the first of them; zero: the last call was answered
	times int
	kind  string
	why   string
}

// learn takes in a call. Each other answer tells that the CRM is there.
func (u *unwell) learn(class Class, call *Call) {
	kind := outbox.Broken
	switch class {
	case Throttled:
		kind = outbox.Throttling
	case Unavailable, Ambiguous:
		switch {
		case call.Status == 0 && class == Unavailable:
			kind = outbox.Unreachable
		case call.Status < 300: // what came is no answer
			kind = outbox.Silent
		}
	default:
		*u = unwell{}
		return
	}
	if u.since.IsZero() {
		u.since = time.Now().Add(-call.Duration)
	}
	u.times++
	u.kind, u.why = kind, call.forLog()
}

// settings are those that all workers are to have alike, by their flags' names.
func (c Config) settings() map[string]string {
	quota, fuse, properties := "off", "off", []string{}
	if q := c.Quota; q.Calls > 0 {
		quota = fmt.Sprintf("%d/%v", q.Calls, q.Window)
	}
	if !c.Fuse.Off {
		fuse = fmt.Sprintf("%.4g%%/%d", 100*c.Fuse.Share, c.Fuse.Window)
	}
	for _, objectType := range slices.Sorted(maps.Keys(c.IDProperty)) {
		properties = append(properties, objectType+"="+c.IDProperty[objectType])
	}
	return map[string]string{
		"quota": quota, "fuse": fuse, "id-property": strings.Join(properties, ","), "on-conflict": string(c.OnConflict),
	}
}

// tell is what this worker says of itself with a beat.
func (w *Worker) tell() outbox.Told {
	now := time.Now()
	t := outbox.Told{At: now, Settings: w.cfg.settings(), Stream: w.stream.trouble(), Database: w.database.trouble()}
	if t.Database != nil {
		err, _ := w.database.failure()
		t.Database.Kind = string(outbox.FaultOf(err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Done = w.done
	if u := w.unwell; !u.since.IsZero() {
		t.CRM = &outbox.Trouble{Kind: u.kind, Why: u.why, Since: u.since, Times: u.times}
		if w.hold.until.After(now) {
			t.CRM.Until = w.hold.until
		}
	}
	for objectType, o := range w.reads {
		if trouble := o.trouble(); trouble != nil {
			if t.Reads == nil {
				t.Reads = map[string]*outbox.Trouble{}
			}
			t.Reads[objectType] = trouble
		}
	}
	return t
}

// trouble is what an outage is to others; nil if there is none.
func (o *outage) trouble() *outbox.Trouble {
	err, lasting := o.failure()
	if err == nil {
		return nil
	}
	return &outbox.Trouble{Why: err.Error(), Since: time.Now().Add(-lasting)}
}
