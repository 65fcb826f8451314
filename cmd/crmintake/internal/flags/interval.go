package flags

import (
	"fmt"
	"time"

	"github.com/alecthomas/kong"
)

// watchFlag is how often to show it: never again if 0. Its value may be left out.
type Interval time.Duration

// IsBool implements kong.BoolMapperValue: the flag needs no value.
func (Interval) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (w *Interval) Decode(ctx *kong.DecodeContext) error {
	*w = Interval(2 * time.Second)
	next := ctx.Scan.Peek()
	text, _ := next.Value.(string)
	d, err := time.ParseDuration(text)
	switch {
	case next.Type == kong.FlagValueToken && text == "true":
		ctx.Scan.Pop()
	case next.Type == kong.FlagValueToken && text == "false":
		ctx.Scan.Pop()
		*w = 0
	case err == nil && d >= 100*time.Millisecond:
		ctx.Scan.Pop()
		*w = Interval(d)
	case err == nil || next.Type == kong.FlagValueToken:
		return fmt.Errorf("%q: want a time of 100ms at least, such as 5s", text)
	}
	return nil
}
