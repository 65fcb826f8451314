package pauses

import "testing"

func TestWindow(t *testing.T) {
	type told struct{ inputs, others, rejected int }
	for name, c := range map[string]struct {
		told      []told
		open, few bool
	}{
		"nothing is known":               {nil, false, false},
		"one was created":                {[]told{{100, 1, 99}}, true, false},
		"all were rejected":              {[]told{{100, 0, 100}}, false, true},
		"a part of a split batch was":    {[]told{{100, 100, 0}, {1, 0, 1}}, false, true},
		"nothing came of it":             {[]told{{100, 0, 0}}, false, false},
		"nothing came of it when open":   {[]told{{100, 100, 0}, {100, 0, 0}}, true, false},
		"nothing came of it when closed": {[]told{{100, 0, 100}, {10, 0, 0}}, false, true},
		"some rejected, none created":    {[]told{{100, 100, 0}, {100, 0, 99}}, true, false},
		"a good one after rejections":    {[]told{{100, 0, 100}, {10, 0, 10}, {10, 1, 9}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var ws Windows
			for _, told := range c.told {
				ws.Begin("contracts")
				closed := !ws.Room("contracts")
				made := ws.Record("contracts", told.inputs, told.others, told.rejected)
				if made != (closed && ws.Room("contracts")) {
					t.Errorf("%+v: it does not tell truly whether it made room", told)
				}
				ws.End("contracts")
			}
			if !ws.Room("contracts") || !ws.Room("deals") {
				t.Error("nothing is under way, and there is no room")
			}
			ws.Begin("contracts")
			room, few := ws.Room("contracts"), ws.Few("contracts")
			if room != c.open || few != c.few || !ws.Room("deals") {
				t.Errorf("room beside a call: %v; few inputs: %v; want %v, %v", room, few, c.open, c.few)
			}
			if made := ws.End("contracts"); made == c.open || !ws.Room("contracts") {
				t.Error("its end made no room")
			}
		})
	}
}

// A window that closes while many calls are under way has room when the last of them has ended.
func TestWindowClosesUnderCalls(t *testing.T) {
	var ws Windows
	ws.Begin("contracts")
	ws.Record("contracts", 1, 1, 0)
	for range 3 {
		ws.Begin("contracts")
	}
	ws.Record("contracts", 100, 0, 100)
	for left := 3; left >= 0; left-- {
		if ws.Room("contracts") {
			t.Errorf("%d calls are under way, and there is room", left+1)
		}
		if !ws.End("contracts") {
			t.Error("the dispatcher is not to look again")
		}
	}
	if !ws.Room("contracts") {
		t.Error("all have ended, and there is no room")
	}
}
