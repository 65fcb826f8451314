package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"crmintake/outbox/operator"
)

// screen is what a command prints on.
type screen struct {
	terminal bool
	width    int // in characters; 0: as wide as it has to be
	height   int // in lines; 0: as high as it has to be
	colour   bool
}

// screenOf looks at a stream. What is no terminal gets everything, and without colour: a program or a file reads it.
func screenOf(w io.Writer, colour bool) screen {
	if !isTerminal(w) {
		return screen{}
	}
	s := screen{terminal: true, colour: colour}
	if file, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(file.Fd())); err == nil {
			s.width, s.height = width, height
		}
	}
	return s
}

// uncut is the screen for what is shown whole, however wide that is.
func (s screen) uncut() screen { return screen{colour: s.colour} }

// colour is what SGR, the terminals' language of colours, calls it.
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	faint  colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

func (s screen) paint(c colour, text string) string {
	if !s.colour || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// column is one of a table.
type column struct {
	title string // a table without titles has no head
	right bool   // numbers
	fit   bool   // is cut where the table is wider than the terminal
	long  bool   // is whole, on lines of its own, where it is wider
}

// cell is a text in the colour.
func (c colour) cell(text string) cell { return cell{c, text} }

// cell is a text in a colour. Rows take it beside what fmt prints.
type cell struct {
	colour colour
	text   string
}

// table is what commands print for people: aligned, and as wide as the terminal at most. What events and answers bring
// is made printable here.
type table struct {
	columns []column
	rows    [][]cell
}

func newTable(columns ...column) *table { return &table{columns: columns} }

func (t *table) row(values ...any) {
	cells := make([]cell, len(values))
	for i, v := range values {
		c, ok := v.(cell)
		if !ok {
			c.text = fmt.Sprint(v)
		}
		c.text = printable(c.text)
		cells[i] = c
	}
	t.rows = append(t.rows, cells)
}

const gap = 2 // blanks between columns

// leastFit is what a column is cut down to at most.
const leastFit = 8

// keep leaves the first rows, so many, and returns how many are gone.
func (t *table) keep(rows int) (gone int) {
	gone = max(len(t.rows)-rows, 0)
	t.rows = t.rows[:len(t.rows)-gone]
	return gone
}

// isEmpty reports whether it has no rows.
func (t *table) isEmpty() bool { return len(t.rows) == 0 }

// withHead are the rows, after that with the titles if there are some.
func (t *table) withHead() [][]cell {
	if len(t.columns) == 0 || t.columns[0].title == "" {
		return t.rows
	}
	head := make([]cell, len(t.columns))
	for i, c := range t.columns {
		head[i] = bold.cell(c.title)
	}
	return append([][]cell{head}, t.rows...)
}

// width is how wide it is where nothing limits it.
func (t *table) width() int {
	n := gap * (len(t.columns) - 1)
	for _, width := range t.widths(t.withHead(), 0) {
		n += width
	}
	return n
}

func (t *table) print(w io.Writer, s screen) error {
	if s.width > 0 && t.width() > s.width && slices.ContainsFunc(t.columns, func(c column) bool { return c.long }) {
		return t.printApart(w, s)
	}
	rows := t.withHead()
	widths := t.widths(rows, s.width)
	var b strings.Builder
	for _, r := range rows {
		pending := 0 // blanks that stand only before something
		for i, c := range r {
			text := cut(c.text, widths[i])
			blanks := widths[i] - uniseg.StringWidth(text)
			if t.columns[i].right {
				pending, blanks = pending+blanks, 0
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", pending) + s.paint(c.colour, text))
				pending = 0
			} else {
				blanks = widths[i]
			}
			pending += blanks + gap
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printApart prints the long columns below the others of each row.
func (t *table) printApart(w io.Writer, s screen) error {
	var others []column
	for _, c := range t.columns {
		if !c.long {
			others = append(others, c)
		}
	}
	upper := newTable(others...)
	for _, r := range t.rows {
		var cells []cell
		for i, c := range t.columns {
			if !c.long {
				cells = append(cells, r[i])
			}
		}
		upper.rows = append(upper.rows, cells)
	}
	var b bytes.Buffer
	if err := upper.print(&b, s); err != nil {
		return err
	}
	if upper.columns[0].title != "" {
		head, _ := b.ReadString('\n')
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		line, _ := b.ReadString('\n')
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
		for i, c := range t.columns {
			if c.long && r[i].text != "" && r[i].text != "-" {
				s.indented(w, r[i].colour, "  "+strings.ToLower(c.title)+": ", r[i].text)
			}
		}
	}
	return nil
}

// widths are those of the columns, cut down where all together are wider than the screen: always the widest of those
// that may be.
func (t *table) widths(rows [][]cell, screen int) []int {
	widths := make([]int, len(t.columns))
	total := gap * (len(widths) - 1)
	for i := range widths {
		for _, r := range rows {
			if i < len(r) {
				widths[i] = max(widths[i], uniseg.StringWidth(r[i].text))
			}
		}
		total += widths[i]
	}
	for screen > 0 && total > screen {
		widest := -1
		for i, c := range t.columns {
			if c.fit && widths[i] > leastFit && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

// wrapped breaks a text into lines of so many columns of a terminal; 0: it is one line. Only what has no blank is cut
// in two.
func wrapped(text string, width int) (lines []string) {
	line, used := "", 0
	end := func() {
		lines = append(lines, line)
		line, used = "", 0
	}
	for _, word := range strings.Fields(printable(text)) {
		n := uniseg.StringWidth(word)
		if used > 0 && width > 0 && used+1+n > width {
			end()
		}
		for ; width > 0 && n > width; n = uniseg.StringWidth(word) {
			part := strings.TrimSuffix(cut(word, width+1), "…")
			if part == "" {
				break
			}
			line, word = part, word[len(part):]
			end()
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	if used > 0 || lines == nil {
		end()
	}
	return lines
}

// indented prints a text in lines that begin under each other, after what stands before the first.
func (s screen) indented(w io.Writer, c colour, before, text string) {
	blanks := uniseg.StringWidth(before)
	width := 0
	if s.width > 0 {
		width = max(s.width-blanks, 2*leastFit)
	}
	for _, line := range wrapped(text, width) {
		fmt.Fprintln(w, before+s.paint(c, line))
		before = strings.Repeat(" ", blanks)
	}
}

// cut shortens a text to so many columns of a terminal.
func cut(s string, most int) string {
	if uniseg.StringWidth(s) <= most {
		return s
	}
	var b strings.Builder
	width := 1 // of the ellipsis
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if width += g.Width(); width > most {
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// grouped writes a number for people: 1,234,567.
func grouped[N int | int64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a time that has passed or is to pass, for people.
func short(d time.Duration) string { return operator.Short(d) }

// shownStatus colours a status.
func shownStatus(status string) cell {
	switch status {
	case "created":
		return green.cell(status)
	case "retry", "unknown":
		return yellow.cell(status)
	case "dead":
		return red.cell(status)
	case "discarded":
		return faint.cell(status)
	}
	return plain.cell(status)
}

// isTerminal tells whether a person is at the other end of a stream. Tests have streams that say so themselves.
func isTerminal(stream any) bool {
	if s, ok := stream.(interface{ IsTerminal() bool }); ok {
		return s.IsTerminal()
	}
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
