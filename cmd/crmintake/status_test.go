package main

import (
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
)

// What status says of the load is what fleet.Member.Autoscale would.
func TestScaling(t *testing.T) {
	t.Parallel()
	now := time.Now()
	status := func(workers int, rate float64, quota *outbox.QuotaState) *outbox.Snapshot {
		s := &outbox.Snapshot{At: now, Quota: quota, Events: []outbox.EventCount{
			{ObjectType: "contracts", Status: outbox.Retry, Events: 400}, {ObjectType: "deals", Status: outbox.Unknown,
				Events: 100},
			{ObjectType: "deals", Status: outbox.Dead, Events: 7_000}, {ObjectType: "deals", Status: outbox.Created,
				Events: 9_000_000},
		}}
		for range workers {
			s.Workers = append(s.Workers, outbox.Worker{Alive: true, Capacity: outbox.Capacity{Batch: 100, Rate: rate}})
		}
		s.Workers = append(s.Workers, outbox.Worker{Capacity: outbox.Capacity{Batch: 100, Rate: 1e9}}) // silent
		return s
	}
	quota := &outbox.QuotaState{Calls: 190, Effective: 100, Window: outbox.Duration(10 * time.Second), Used: 30}
	blocked := *quota
	blocked.BlockedUntil = now.Add(time.Minute)
	for name, c := range map[string]struct {
		status  *outbox.Snapshot
		pending int
		want    string
	}{
		"the quota limits": {status(2, 20_000, quota), 189_500,
			"190,000 events wait, about 3m10s of work; the quota limits (1,000 events/s), more workers would not help"},
		"it is blocked": {status(2, 20_000, &blocked), 189_500,
			"190,000 events wait, about 4m10s of work; the quota limits (1,000 events/s), more workers would not help"},
		"workers are few": {status(2, 100, quota), 189_500,
			"190,000 events wait, about 15m50s of work; 10 workers would do it faster"},
		"workers suffice":   {status(2, 100, quota), 1_500, "2,000 events wait, about 10s of work"},
		"none is there":     {status(0, 0, quota), 500, "1,000 events wait; no worker is there"},
		"nobody knows more": {status(1, 0, nil), 500, "1,000 events wait"},
	} {
		if got := scalingOf(c.status, &backlog{Pending: c.pending - 5, Unacked: 5}).String(); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
	waits := status(2, 20_000, quota)
	waits.Pauses = []outbox.Pause{{ObjectType: outbox.Account, TrialAt: now.Add(14 * time.Minute)}}
	if x := scalingOf(waits, &backlog{Pending: 1_500}); x.String() != "2,000 events wait" || x.Empty != "" ||
		x.QuotaLimits {
		t.Errorf("during a pause: %s, %+v", x, x)
	}
	full := status(2, 20_000, quota)
	full.Workers[0].Told.Database = &outbox.Trouble{Kind: string(outbox.Full)}
	if x := scalingOf(full, &backlog{Pending: 189_500}); x.String() != "190,000 events wait" || x.QuotaLimits {
		t.Errorf("with a full disk: %s, %+v", x, x)
	}
	idle := &outbox.Snapshot{At: now, Quota: quota, Workers: waits.Workers}
	if x := scalingOf(idle, &backlog{}); x.String() != "nothing waits" || x.QuotaLimits {
		t.Errorf("with nothing to do: %s, %+v", x, x)
	}
	paused := status(2, 100, quota)
	paused.Pauses = []outbox.Pause{{ObjectType: "contracts"}}
	if n := scalingOf(paused, &backlog{Pending: 189_500}).WorkersWanted; n != 10 {
		t.Errorf("%d workers are wanted while an object type is paused, want 10", n)
	}
	paused.Pauses = append(paused.Pauses, outbox.Pause{ObjectType: outbox.Account})
	if n := scalingOf(paused, &backlog{Pending: 189_500}).WorkersWanted; n != 1 {
		t.Errorf("%d workers are wanted while everything is paused", n)
	}
	if s := scalingOf(&outbox.Snapshot{}, &backlog{}).String(); !strings.HasPrefix(s, "nothing waits") {
		t.Error(s)
	}
}
