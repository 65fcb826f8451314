package flags

import "net/url"

// durableFlags say where to look for what the promise stands on.
type Monitor struct {
	NATSMonitorURL string `name:"nats-monitor-url" help:"HTTP monitoring of the NATS server that has the stream, as http://nats.example.com:8222: it tells whether what is confirmed is on disk. For a stream with one replica." placeholder:"URL"`
}

func (f Monitor) Check() error {
	if f.NATSMonitorURL == "" {
		return nil
	}
	u, err := url.Parse(f.NATSMonitorURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// Without the value, which may hold a password.
		return Usagef("--nats-monitor-url: want a URL such as http://127.0.0.1:8222, without a password")
	}
	return nil
}
