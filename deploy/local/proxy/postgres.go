package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// PostgresHooks see the statements of a program. A nil hook lets everything pass.
type PostgresHooks struct {
	// Statement is called with the text of each statement that is to be executed, before the server hears of that. If it
	// returns false, the transaction that the statement belongs to is not committed, as the server gets no word to do so.
	Statement func(sql string) bool
	// Answer is called when the server has ended a transaction, committed or not, with the texts of all its statements,
	// before the program is told that it is over. If it returns false, the program never is.
	Answer func(statements []string) bool
}

// StartPostgres returns a Proxy to a Postgres server, which calls hooks.
func StartPostgres(target string, hooks PostgresHooks) (*Proxy, error) {
	if hooks.Statement == nil {
		hooks.Statement = func(string) bool { return true }
	}
	if hooks.Answer == nil {
		hooks.Answer = func([]string) bool { return true }
	}
	return start(target, func(l *link) (forth, back func() error) {
		c := &postgres{link: l, hooks: hooks, prepared: map[string]string{}, portals: map[string]string{}}
		return c.forth, c.back
	})
}

// postgres is one connection, with what it takes to know which statement is executed: a program sends the text once,
// with a name, and names it later.
type postgres struct {
	link  *link
	hooks PostgresHooks

	prepared, portals map[string]string // texts by name; forth's alone

	mu       sync.Mutex // guards what follows
	executed []string   // since the last transaction's end that the program was told of
}

// forth carries what the program says.
func (c *postgres) forth() error {
	in := bufio.NewReader(c.link.client)
	message, err := frame(in, 4) // the first has no type
	for err == nil {
		if err = c.link.write(c.link.server, message); err != nil {
			break
		}
		if message, err = frame(in, 5); err == nil {
			err = c.see(message)
		}
	}
	return err
}

// see looks at a message of the program's.
func (c *postgres) see(message []byte) error {
	var sql string
	switch body := message[5:]; message[0] {
	case 'P':
		var m pgproto3.Parse
		if err := m.Decode(body); err != nil {
			return err
		}
		c.prepared[m.Name] = m.Query
		return nil
	case 'B':
		var m pgproto3.Bind
		if err := m.Decode(body); err != nil {
			return err
		}
		c.portals[m.DestinationPortal] = c.prepared[m.PreparedStatement]
		return nil
	case 'E':
		var m pgproto3.Execute
		if err := m.Decode(body); err != nil {
			return err
		}
		sql = c.portals[m.Portal]
	case 'Q':
		var m pgproto3.Query
		if err := m.Decode(body); err != nil {
			return err
		}
		sql = m.String
	default:
		return nil
	}
	if !c.hooks.Statement(sql) {
		return errDropped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.executed = append(c.executed, sql)
	return nil
}

// idle is ReadyForQuery outside of a transaction: the one before is over.
var idle = []byte{'Z', 0, 0, 0, 5, 'I'}

// back carries what the server says.
func (c *postgres) back() error {
	in := bufio.NewReader(c.link.server)
	for {
		message, err := frame(in, 5)
		if err != nil {
			return err
		}
		if bytes.Equal(message, idle) {
			if over := c.over(); len(over) > 0 && !c.hooks.Answer(over) {
				return errDropped
			}
		}
		if err := c.link.write(c.link.client, message); err != nil {
			return err
		}
	}
}

// over takes the statements of the transaction that has ended.
func (c *postgres) over() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := c.executed
	c.executed = nil
	return over
}

// frame reads a message, whose head ends with its length, which counts itself.
func frame(in io.Reader, head int) ([]byte, error) {
	b := make([]byte, head)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	return body(in, b, int(binary.BigEndian.Uint32(b[head-4:]))-4)
}
