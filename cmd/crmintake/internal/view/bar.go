package view

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a person's terminal how many of so many events are done, until its end.
func Progress(w io.Writer, what string, events int64) (tell func(done int64), end func()) {
	if !IsTerminal(w) {
		return func(int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(events, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetItsString("events"))
	return func(done int64) { _ = bar.Set64(done) }, func() { _ = bar.Clear() }
}

// newBar returns nil unless w is a terminal: a bar would spoil a file. The size is -1 if it is not known.
func Bar(w io.Writer, size int64) *progressbar.ProgressBar {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("publishing"),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}
	if size >= 0 {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionShowCount(), progressbar.OptionSetItsString("lines"))
	}
	return progressbar.NewOptions64(size, options...)
}
