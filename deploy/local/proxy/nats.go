package proxy

import (
	"bufio"
	"bytes"
	"net"
	"strconv"
	"strings"
)

// Message is one that passes between a program and a NATS server.
type Message struct {
	Subject, Reply string
	Data           []byte // without headers; not to be kept
}

// ackPrefix begins the subjects by which JetStream's messages are answered.
const ackPrefix = "$JS.ACK."

// Delivery tells of a message that JetStream delivers.
func (m Message) Delivery() bool { return strings.HasPrefix(m.Reply, ackPrefix) }

// Ack tells of a program's word that JetStream need not deliver a message again.
func (m Message) Ack() bool {
	return strings.HasPrefix(m.Subject, ackPrefix) && (len(m.Data) == 0 || string(m.Data) == "+ACK")
}

// NATSHooks see the messages of a program. A nil hook lets everything pass.
type NATSHooks struct {
	Sent     func(Message) bool // by the program, before the server gets it
	Received func(Message) bool // from the server, before the program gets it
}

// StartNATS returns a Proxy to a NATS server, which calls hooks.
func StartNATS(target string, hooks NATSHooks) (*Proxy, error) {
	return start(target, func(l *link) (forth, back func() error) {
		return func() error { return carryNATS(l, l.client, l.server, hooks.Sent) },
			func() error { return carryNATS(l, l.server, l.client, hooks.Received) }
	})
}

func carryNATS(l *link, from, to *net.TCPConn, hook func(Message) bool) error {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		m, header, total, ok := parseNATS(line)
		if ok {
			head := len(line) + header
			if line, err = body(in, line, total+len("\r\n")); err != nil {
				return err
			}
			m.Data = line[min(head, len(line)-2) : len(line)-2]
			if hook != nil && !hook(m) {
				return errDropped
			}
		}
		if err := l.write(to, line); err != nil {
			return err
		}
	}
}

// parseNATS reads a protocol line. It reports false when no payload follows. The last number is the size of what
// follows, and with headers the one before it is their part.
func parseNATS(line []byte) (m Message, header, total int, ok bool) {
	fields := strings.Fields(string(bytes.TrimSpace(line)))
	if len(fields) < 3 {
		return m, 0, 0, false
	}
	verb, arguments := strings.ToUpper(fields[0]), fields[1:]
	numbers := 1
	switch verb {
	case "PUB", "MSG":
	case "HPUB", "HMSG":
		numbers = 2
	default:
		return m, 0, 0, false
	}
	if len(arguments) < 1+numbers {
		return m, 0, 0, false
	}
	sizes := arguments[len(arguments)-numbers:]
	names := arguments[:len(arguments)-numbers]
	if strings.HasSuffix(verb, "MSG") && len(names) > 1 {
		names = append(names[:1:1], names[2:]...) // without the subscription's number
	}
	m.Subject = names[0]
	if len(names) > 1 {
		m.Reply = names[1]
	}
	total, err := strconv.Atoi(sizes[len(sizes)-1])
	if err == nil && numbers == 2 {
		header, err = strconv.Atoi(sizes[0])
	}
	return m, header, total, err == nil
}
