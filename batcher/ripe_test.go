package batcher

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model that keeps every item in a plain slice agrees on what is ripe, which key goes first, what a cut holds and
// when to ask again.
func TestRipensAsTheModelDoes(t *testing.T) {
	type item struct {
		n, bytes int
		added    time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Size: rapid.IntRange(1, 4).Draw(t, "size"), Bytes: rapid.IntRange(1, 40).Draw(t, "bytes"),
			Wait: time.Second}
		b := New[int](cfg)
		now, model := start, map[string][]item{}
		full := func(items []item) bool {
			total := 0
			for _, i := range items {
				total += i.bytes
			}
			return len(items) >= cfg.Size || total >= cfg.Bytes
		}
		for n := range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
			for range rapid.IntRange(0, 2).Draw(t, "items") {
				key := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "key"))
				i := item{n, rapid.IntRange(0, 45).Draw(t, "item bytes"), now}
				b.Add(key, i.n, i.bytes, now)
				model[key] = append(model[key], i)
			}
			skipped := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "skipped")) // often none
			skip := func(key string) bool { return key == skipped }
			var oldest, next time.Time
			for key, items := range model {
				if len(items) == 0 || skip(key) {
					continue
				}
				first := items[0].added
				if due := first.Add(cfg.Wait); next.IsZero() || due.Before(next) {
					next = due
				}
				if (full(items) || now.Sub(first) >= cfg.Wait) && (oldest.IsZero() || first.Before(oldest)) {
					oldest = first
				}
			}
			if at, ok := b.Next(skip); ok == next.IsZero() || !at.Equal(next) {
				t.Fatalf("next at %v, %v; want %v", at, ok, next)
			}
			key, ok := b.Ripe(now, skip)
			if ok == oldest.IsZero() || ok && (skip(key) || !model[key][0].added.Equal(oldest)) {
				t.Fatalf("ripe: %q, %v; want the one of %v", key, ok, oldest)
			}
			if !ok {
				continue
			}
			got, why := b.Cut(key, now)
			want, total := model[key], 0
			count := 0
			for _, i := range want {
				if count == cfg.Size || count > 0 && total+i.bytes > cfg.Bytes {
					break
				}
				count, total = count+1, total+i.bytes
			}
			if len(got) != count || why == Flush || (why == Count) != (count == cfg.Size) || (why == Age) == full(want) {
				t.Fatalf("cut %v by %s, want %d of %v", got, why, count, want)
			}
			model[key] = want[count:]
		}
	})
}

func TestEqualKeysTakeTurns(t *testing.T) {
	b := New[int](Config{Size: 1})
	for i := range 3 {
		for _, key := range []string{"a", "b", "c"} {
			b.Add(key, i, 1, start)
		}
	}
	order := ""
	for {
		key, ok := b.Ripe(start, nil)
		if !ok {
			break
		}
		b.Cut(key, start)
		order += key
	}
	if order != "abcabcabc" {
		t.Errorf("served in the order %s", order)
	}
}

func TestDrainAndEach(t *testing.T) {
	b := New[string](Config{})
	b.Add("x", "x1", 2, start)
	b.Add("y", "y1", 3, start.Add(1))
	b.Add("x", "x2", 5, start.Add(2))
	seen := map[string]string{}
	b.Each(func(key, item string, added time.Time) { seen[key] += fmt.Sprint(item, "@", added.Sub(start), " ") })
	if seen["x"] != "x1@0s x2@2ns " || seen["y"] != "y1@1ns " {
		t.Errorf("each: %q", seen)
	}
	if got := b.Drain("x"); fmt.Sprint(got) != "[x1 x2]" || b.Len() != 1 || b.Bytes() != 3 {
		t.Errorf("drained %v, left %d items of %d bytes", got, b.Len(), b.Bytes())
	}
	b.Add("z", "z1", 1, start)
	if got := b.DrainAll(); len(got) != 2 || b.Len() != 0 || b.Bytes() != 0 {
		t.Errorf("drained %v, left %d items of %d bytes", got, b.Len(), b.Bytes())
	}
	if b.Drain("x") != nil || b.DrainAll() != nil {
		t.Error("an empty batcher gave items")
	}
	if items, why := b.Cut("x", start); items != nil || why != Flush {
		t.Errorf("cut %v by %s of nothing", items, why)
	}
	if _, ok := b.Next(nil); ok {
		t.Error("nothing waits, but there is a next")
	}
}

// What went out is not referenced, and a buffer that was long is given back.
func TestLetsGo(t *testing.T) {
	b := New[*int](Config{Size: 10})
	for range 10_000 {
		b.Add("k", new(int), 1, start)
	}
	for b.Len() > 5 {
		b.Cut("k", start)
		l := b.byKey["k"]
		if l == nil {
			break
		}
		for i, e := range l.entries[:cap(l.entries)] {
			if (i < l.head || i >= len(l.entries)) && e.item != nil {
				t.Fatalf("entry %d of %d is still referenced", i, len(l.entries))
			}
		}
		if c := cap(l.entries); c > 640 && c > 16*l.len() {
			t.Fatalf("%d items keep room for %d", l.len(), c)
		}
	}
	b.DrainAll()
	if len(b.byKey) != 0 || cap(b.spare) > 640 {
		t.Errorf("%d keys and room for %d are left", len(b.byKey), cap(b.spare))
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Size: -1}, {Bytes: -1}, {Wait: -1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func BenchmarkTenKeys(b *testing.B) {
	keys := make([]string, 10)
	for i := range keys {
		keys[i] = fmt.Sprint("object-type-", i)
	}
	q := New[*int](Config{})
	v := new(int)
	b.ReportAllocs()
	for i := range b.N {
		q.Add(keys[i%10], v, 300, start)
		if i%100 == 0 {
			if key, ok := q.Ripe(start, nil); ok {
				q.Cut(key, start)
			}
		}
	}
}
