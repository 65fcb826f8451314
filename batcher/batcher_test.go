package batcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRipeAndCut(t *testing.T) {
	cfg := Config{Size: 3, Bytes: 100, Wait: time.Second}
	for name, c := range map[string]struct {
		sizes []int
		after time.Duration
		ripe  bool
		cut   int
		why   Reason
	}{
		"a lone item waits":                {[]int{10}, 0, false, 1, Flush},
		"until its time has come":          {[]int{10}, time.Second, true, 1, Age},
		"not a moment sooner":              {[]int{10}, time.Second - 1, false, 1, Flush},
		"three fill a batch":               {[]int{1, 1, 1}, 0, true, 3, Count},
		"the fourth stays":                 {[]int{1, 1, 1, 1}, 0, true, 3, Count},
		"bytes fill it":                    {[]int{60, 60}, 0, true, 1, Bytes},
		"to the very byte":                 {[]int{60, 40}, 0, true, 2, Bytes},
		"a larger item goes, and alone":    {[]int{500, 1}, 0, true, 1, Bytes},
		"a ripe batch grows until the cut": {[]int{1, 1}, time.Hour, true, 2, Age},
	} {
		t.Run(name, func(t *testing.T) {
			b := New[int](cfg)
			for i, n := range c.sizes {
				b.Add("k", i, n, start)
			}
			now := start.Add(c.after)
			if _, ok := b.Ripe(now, nil); ok != c.ripe {
				t.Errorf("ripe: %v, want %v", ok, c.ripe)
			}
			items, why := b.Cut("k", now)
			if len(items) != c.cut || why != c.why {
				t.Errorf("cut %d by %s, want %d by %s", len(items), why, c.cut, c.why)
			}
		})
	}
}

// A cut of few leaves the rest in its order, and says why the batch was cut when it was.
func TestCutFew(t *testing.T) {
	for name, c := range map[string]struct {
		most  int
		after time.Duration
		want  []int
		why   Reason
	}{
		"fewer than fill it":          {2, 0, []int{0, 1}, Count},
		"one":                         {1, 0, []int{0}, Count},
		"at least one":                {0, 0, []int{0}, Count},
		"as many":                     {3, 0, []int{0, 1, 2}, Count},
		"more make no larger batch":   {9, 0, []int{0, 1, 2}, Count},
		"full and due counts as full": {2, time.Hour, []int{0, 1}, Count},
	} {
		t.Run(name, func(t *testing.T) {
			b := New[int](Config{Size: 3, Wait: time.Second})
			for i := range 4 {
				b.Add("k", i, 10, start)
			}
			items, why := b.CutFew("k", c.most, start.Add(c.after))
			if diff := cmp.Diff(c.want, items); diff != "" || why != c.why {
				t.Errorf("cut by %s, want %s; %s", why, c.why, diff)
			}
			if n := 4 - len(c.want); b.Len() != n || b.Bytes() != 10*n || b.Waiting("k") != n {
				t.Errorf("left %d items of %d bytes, want %d", b.Len(), b.Bytes(), n)
			}
			if rest := b.Drain("k"); len(rest) == 0 || rest[0] != len(c.want) {
				t.Errorf("left %v", rest)
			}
		})
	}
}

func TestOldestKeyFirst(t *testing.T) {
	b := New[int](Config{Size: 1})
	b.Add("late", 1, 1, start.Add(2))
	b.Add("early", 2, 1, start.Add(1))
	if key, _ := b.Ripe(start.Add(3), nil); key != "early" {
		t.Errorf("%q comes first", key)
	}
	if key, _ := b.Ripe(start.Add(3), func(k string) bool { return k == "early" }); key != "late" {
		t.Errorf("with early skipped, %q comes first", key)
	}
	if at, ok := b.Next(nil); !ok || !at.Equal(start.Add(1+500*time.Millisecond)) {
		t.Errorf("next at %v, %v", at, ok)
	}
}

// Whatever is added and cut in whatever order: nothing is lost or doubled, order is kept, and bounds are respected.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Size: rapid.IntRange(1, 5).Draw(t, "size"), Bytes: rapid.IntRange(1, 50).Draw(t, "bytes"),
			Wait: time.Second}
		b := New[int](cfg)
		now, next := start, 0
		want := map[string][]int{}
		sizes := map[int]int{}
		check := func(key string, items []int) {
			if diff := cmp.Diff(want[key][:len(items)], items, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("key %s: %s", key, diff)
			}
			want[key] = want[key][len(items):]
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 0, 1:
				key := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "key"))
				sizes[next] = rapid.IntRange(0, 60).Draw(t, "bytes")
				b.Add(key, next, sizes[next], now)
				want[key] = append(want[key], next)
				next++
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(0, 800).Draw(t, "ms")) * time.Millisecond)
			case 3:
				key, ok := b.Ripe(now, nil)
				if !ok {
					continue
				}
				most := rapid.IntRange(1, 6).Draw(t, "most")
				items, why := b.CutFew(key, most, now)
				total := 0
				for _, i := range items {
					total += sizes[i]
				}
				if why == Flush || len(items) == 0 || len(items) > min(most, cfg.Size) || len(items) > 1 && total > cfg.Bytes {
					t.Fatalf("cut %d items of %d bytes by %s under %+v", len(items), total, why, cfg)
				}
				check(key, items)
			case 4:
				cfg.Bytes = rapid.IntRange(1, 50).Draw(t, "limit")
				b.Limit(cfg.Bytes)
			}
		}
		left, bytes := 0, 0
		for _, list := range want {
			left += len(list)
			for _, i := range list {
				bytes += sizes[i]
			}
		}
		if b.Len() != left || b.Bytes() != bytes {
			t.Fatalf("holds %d items, %d bytes, want %d, %d", b.Len(), b.Bytes(), left, bytes)
		}
		for key := range want {
			check(key, b.Drain(key))
		}
		if b.Len() != 0 || b.Bytes() != 0 {
			t.Fatal("something is left behind")
		}
	})
}

func BenchmarkAddCut(b *testing.B) {
	b.ReportAllocs()
	q := New[*int](Config{})
	v := new(int)
	for range b.N {
		q.Add("k", v, 300, start)
		if q.Len() == 100 {
			q.Cut("k", start)
		}
	}
}

func TestOldest(t *testing.T) {
	b := New[int](Config{Size: 2})
	begin := time.Now()
	for n := range 3 {
		b.Add("k", n, 1, begin.Add(time.Duration(n)))
	}
	if at, ok := b.Oldest("k"); !ok || !at.Equal(begin) {
		t.Errorf("oldest %v %v", at, ok)
	}
	b.Cut("k", begin)
	if at, ok := b.Oldest("k"); !ok || !at.Equal(begin.Add(2)) {
		t.Errorf("oldest %v %v", at, ok)
	}
	b.Cut("k", begin)
	if _, ok := b.Oldest("k"); ok {
		t.Error("nothing waits, and something is oldest")
	}
}
