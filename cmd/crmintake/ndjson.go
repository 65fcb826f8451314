package main

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"crmintake/worker"
)

// line is one line of input, or the end of it.
type line struct {
	number  int    // from 1
	text    []byte // without its line break; nobody else's
	end     int64  // how many bytes of the input there are up to the end of this line
	tooLong bool   // longer than an event may be; text is empty then
	err     error  // why there are no more lines: io.EOF, or what reading failed with

	exported       bool // it is an event that dead export wrote, with what it was there:
	id, objectType string
	bad            error // why it is none that can be read
}

func (l line) blank() bool { return !l.tooLong && !l.exported && len(bytes.TrimSpace(l.text)) == 0 }

// readLines sends the lines of r until its end, which is a line with an error, or until ctx ends. It never holds more
// than an event's size of a line, however long that is; of a line that dead export wrote, what an event can become
// there.
func readLines(ctx context.Context, r io.Reader, lines chan<- line) {
	in := bufio.NewReaderSize(r, 256<<10)
	for l := (line{number: 1}); ; l = (line{number: l.number + 1, end: l.end}) {
		l.err = readLine(in, &l)
		if l.err == io.EOF && (len(l.text) > 0 || l.tooLong) {
			l.err = nil // the last line lacks its line break; the end comes next
		}
		select {
		case lines <- l:
		case <-ctx.Done():
			return
		}
		if l.err != nil {
			return
		}
	}
}

// maxExportBytes is an event of control characters, six bytes each in JSON, and what is beside it.
const maxExportBytes = 6*worker.MaxEventBytes + 1<<20

func readLine(in *bufio.Reader, l *line) error {
	for {
		part, err := in.ReadSlice('\n')
		l.end += int64(len(part))
		// A line break of two characters may follow what is just long enough.
		most := worker.MaxEventBytes + 2
		if bytes.HasPrefix(l.text, []byte(exportStart)) {
			most = maxExportBytes
		}
		if len(l.text)+len(part) > most {
			l.tooLong, l.text = true, nil
		}
		if !l.tooLong {
			l.text = append(l.text, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if text, ok := bytes.CutSuffix(l.text, []byte("\n")); ok {
			l.text = bytes.TrimSuffix(text, []byte("\r"))
		}
		if len(l.text) > worker.MaxEventBytes && !bytes.HasPrefix(l.text, []byte(exportStart)) {
			l.tooLong, l.text = true, nil
		}
		return err
	}
}
