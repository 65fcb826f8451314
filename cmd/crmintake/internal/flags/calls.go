package flags

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/units"

	"crmintake/worker/pipeline"
)

// callFlags bound batches and calls.
type Calls struct {
	BatchSize     int              `help:"Events a call at most; the API takes no more than 100." default:"100" placeholder:"N"`
	BatchBytes    units.Base2Bytes `help:"Bytes a call at most; only a larger event goes alone." default:"4MiB" placeholder:"SIZE"`
	BatchWait     time.Duration    `help:"How long an event waits at most for its batch to fill up." default:"500ms" placeholder:"TIME"`
	InFlight      int              `help:"Calls at once." default:"32" placeholder:"N"`
	Memory        units.Base2Bytes `help:"What the events in hand take up, about." default:"64MiB" placeholder:"SIZE"`
	CallTimeout   time.Duration    `help:"How long a call may take." default:"30s" placeholder:"TIME"`
	Lease         time.Duration    `help:"How long no other worker touches the events of a call; must outlast the call." default:"60s" placeholder:"TIME"`
	Quota         Quota            `help:"Calls that all workers together make in any such time, as 190/10s; or off." default:"100/10s" placeholder:"CALLS/TIME"`
	QuotaReserve  Share            `help:"Share of the quota, and of the day's, that is left to other apps of the account, as 20%." default:"0%" placeholder:"SHARE"`
	QuotaDaily    int              `help:"Calls that all workers together make in a day; 0 for any number." default:"0" placeholder:"N"`
	QuotaZone     Zone             `help:"Time zone of the account, at whose midnight the day begins, as Europe/Berlin." default:"UTC" placeholder:"ZONE"`
	TrialInterval time.Duration    `help:"How often one call of the fleet tries whether a pause can end." default:"15s" placeholder:"TIME"`
	Breaker       Breaker          `help:"Pause an object type when more than so much of its last inputs was rejected for the same reason, as 50%/500; or off." default:"50%/500" placeholder:"SHARE%/INPUTS"`
}

// quotaFlag is so many calls in a time; the zero value is no limit.
type Quota pipeline.Quota

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *Quota) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*q = Quota{}
		return nil
	}
	calls, window, _ := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(calls)
	d, derr := time.ParseDuration(window)
	if err != nil || derr != nil || n < 1 || d <= 0 {
		return fmt.Errorf("%q: want calls and a time, as 190/10s, or off", text)
	}
	*q = Quota{Calls: n, Window: d}
	return nil
}

// shareFlag is a percentage; 0.2 is 20%.
type Share float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Share) UnmarshalText(text []byte) error {
	percent, ok := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(percent, 64)
	if !ok || err != nil || !(v >= 0 && v < 100) {
		return fmt.Errorf("%q: want a share below 100%%, as 20%%", text)
	}
	*f = Share(v / 100)
	return nil
}

// zoneFlag is a time zone by its name.
type Zone struct{ *time.Location }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Zone) UnmarshalText(text []byte) (err error) {
	if f.Location, err = time.LoadLocation(string(text)); err != nil || len(text) == 0 || string(text) == "Local" {
		return fmt.Errorf("%q: want the name of a time zone, as Europe/Berlin", text)
	}
	return nil
}

// quota says what the account allows.
func (f Calls) QuotaConfig() pipeline.Quota {
	q := pipeline.Quota(f.Quota)
	q.Reserve, q.Daily, q.Location = float64(f.QuotaReserve), f.QuotaDaily, f.QuotaZone.Location
	return q
}

// breakerFlag is a share in percent of a number of inputs.
type Breaker pipeline.Breaker

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Breaker) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*f = Breaker{Off: true}
		return nil
	}
	share, window, _ := strings.Cut(string(text), "/")
	percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
	n, werr := strconv.Atoi(window)
	if err != nil || werr != nil || !strings.HasSuffix(share, "%") || !(percent > 0 && percent < 100) || n < 1 {
		return fmt.Errorf("%q: want a share of a number of inputs, as 50%%/500, or off", text)
	}
	*f = Breaker{Share: percent / 100, Window: n}
	return nil
}
