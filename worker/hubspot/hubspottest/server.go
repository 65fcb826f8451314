package hubspottest

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a CRM with a listener of its own, on a free port of 127.0.0.1.
type Server struct {
	*CRM
	// URL is the base of all paths, http://127.0.0.1:port.
	URL string

	http    *http.Server
	running sync.WaitGroup // the accepting goroutine, the connections and the handlers
	once    sync.Once
}

// Start makes an account and serves it until Close. The error is what is wrong with cfg, or the listener's.
func Start(cfg Config) (*Server, error) {
	crm, err := New(cfg)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("hubspottest: %w", err)
	}
	s := &Server{CRM: crm, URL: "http://" + l.Addr().String()}
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.running.Add(1) // the connection's goroutine, which runs this, is counted still
			defer s.running.Done()
			crm.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: time.Minute,
		ConnState: func(conn net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.running.Add(1) // in the accepting goroutine, which is counted still
				select {
				case <-s.stop: // accepted too late for Close to see it
					_ = conn.Close()
				default:
				}
			case http.StateClosed, http.StateHijacked:
				s.running.Done()
			}
		},
	}
	s.running.Go(func() { _ = s.http.Serve(l) })
	return s, nil
}

// Close stops listening, breaks all connections and returns when nothing of the server runs any longer. Records and
// Stats can be asked for still. It may be called again.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.stop)
		_ = s.http.Close()
	})
	s.running.Wait()
}
