package view

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
type Screen struct {
	Terminal bool
	Width    int // in characters; 0: as wide as it has to be
	Height   int // in lines; 0: as high as it has to be
	Colour   bool
}

// screenOf looks at a stream. What is no terminal gets everything, and without colour: a program or a file reads it.
func ScreenOf(w io.Writer, colour bool) Screen {
	if !IsTerminal(w) {
		return Screen{}
	}
	s := Screen{Terminal: true, Colour: colour}
	if file, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(file.Fd())); err == nil {
			s.Width, s.Height = width, height
		}
	}
	return s
}

// uncut is the screen for what is shown whole, however wide that is.
func (s Screen) Uncut() Screen { return Screen{Colour: s.Colour} }

// colour is what SGR, the terminals' language of colours, calls it.
type Colour string

const (
	Plain  Colour = ""
	Bold   Colour = "1"
	Faint  Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
)

func (s Screen) Paint(c Colour, text string) string {
	if !s.Colour || c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// column is one of a table.
type Column struct {
	Title string // a table without titles has no head
	Right bool   // numbers
	Fit   bool   // is cut where the table is wider than the terminal
	Long  bool   // is whole, on lines of its own, where it is wider
}

// cell is a text in the colour.
func (c Colour) Cell(text string) Cell { return Cell{c, text} }

// cell is a text in a colour. Rows take it beside what fmt prints.
type Cell struct {
	Colour Colour
	Text   string
}

// table is what commands print for people: aligned, and as wide as the terminal at most. What events and answers bring
// is made printable here.
type Table struct {
	columns []Column
	rows    [][]Cell
}

func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

func (t *Table) Row(values ...any) {
	cells := make([]Cell, len(values))
	for i, v := range values {
		c, ok := v.(Cell)
		if !ok {
			c.Text = fmt.Sprint(v)
		}
		c.Text = Printable(c.Text)
		cells[i] = c
	}
	t.rows = append(t.rows, cells)
}

const gap = 2 // blanks between columns

// leastFit is what a column is cut down to at most.
const leastFit = 8

// keep leaves the first rows, so many, and returns how many are gone.
func (t *Table) Keep(rows int) (gone int) {
	gone = max(len(t.rows)-rows, 0)
	t.rows = t.rows[:len(t.rows)-gone]
	return gone
}

// isEmpty reports whether it has no rows.
func (t *Table) IsEmpty() bool { return len(t.rows) == 0 }

// withHead are the rows, after that with the titles if there are some.
func (t *Table) withHead() [][]Cell {
	if len(t.columns) == 0 || t.columns[0].Title == "" {
		return t.rows
	}
	head := make([]Cell, len(t.columns))
	for i, c := range t.columns {
		head[i] = Bold.Cell(c.Title)
	}
	return append([][]Cell{head}, t.rows...)
}

// width is how wide it is where nothing limits it.
func (t *Table) Width() int {
	n := gap * (len(t.columns) - 1)
	for _, width := range t.widths(t.withHead(), 0) {
		n += width
	}
	return n
}

func (t *Table) Print(w io.Writer, s Screen) error {
	if s.Width > 0 && t.Width() > s.Width && slices.ContainsFunc(t.columns, func(c Column) bool { return c.Long }) {
		return t.printApart(w, s)
	}
	rows := t.withHead()
	widths := t.widths(rows, s.Width)
	var b strings.Builder
	for _, r := range rows {
		pending := 0 // blanks that stand only before something
		for i, c := range r {
			text := cut(c.Text, widths[i])
			blanks := widths[i] - uniseg.StringWidth(text)
			if t.columns[i].Right {
				pending, blanks = pending+blanks, 0
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", pending) + s.Paint(c.Colour, text))
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
func (t *Table) printApart(w io.Writer, s Screen) error {
	var others []Column
	for _, c := range t.columns {
		if !c.Long {
			others = append(others, c)
		}
	}
	upper := NewTable(others...)
	for _, r := range t.rows {
		var cells []Cell
		for i, c := range t.columns {
			if !c.Long {
				cells = append(cells, r[i])
			}
		}
		upper.rows = append(upper.rows, cells)
	}
	var b bytes.Buffer
	if err := upper.Print(&b, s); err != nil {
		return err
	}
	if upper.columns[0].Title != "" {
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
			if c.Long && r[i].Text != "" && r[i].Text != "-" {
				s.Indented(w, r[i].Colour, "  "+strings.ToLower(c.Title)+": ", r[i].Text)
			}
		}
	}
	return nil
}

// widths are those of the columns, cut down where all together are wider than the screen: always the widest of those
// that may be.
func (t *Table) widths(rows [][]Cell, screen int) []int {
	widths := make([]int, len(t.columns))
	total := gap * (len(widths) - 1)
	for i := range widths {
		for _, r := range rows {
			if i < len(r) {
				widths[i] = max(widths[i], uniseg.StringWidth(r[i].Text))
			}
		}
		total += widths[i]
	}
	for screen > 0 && total > screen {
		widest := -1
		for i, c := range t.columns {
			if c.Fit && widths[i] > leastFit && (widest < 0 || widths[i] > widths[widest]) {
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
	for _, word := range strings.Fields(Printable(text)) {
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
func (s Screen) Indented(w io.Writer, c Colour, before, text string) {
	blanks := uniseg.StringWidth(before)
	width := 0
	if s.Width > 0 {
		width = max(s.Width-blanks, 2*leastFit)
	}
	for _, line := range wrapped(text, width) {
		fmt.Fprintln(w, before+s.Paint(c, line))
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
func Grouped[N int | int64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a time that has passed or is to pass, for people.
func Short(d time.Duration) string { return operator.Short(d) }

// shownStatus colours a status.
func Status(status string) Cell {
	switch status {
	case "created":
		return Green.Cell(status)
	case "retry", "unknown":
		return Yellow.Cell(status)
	case "dead":
		return Red.Cell(status)
	case "discarded":
		return Faint.Cell(status)
	}
	return Plain.Cell(status)
}

// isTerminal tells whether a person is at the other end of a stream. Tests have streams that say so themselves.
func IsTerminal(stream any) bool {
	if s, ok := stream.(interface{ IsTerminal() bool }); ok {
		return s.IsTerminal()
	}
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
