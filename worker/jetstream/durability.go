package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Monitored is how durable a confirmed publish is, by the server's HTTP monitoring.
type Monitored struct {
	Server string // its name
	// Always: the server syncs before it confirms. Else it does so every Interval, and confirms before.
	Always   bool
	Interval time.Duration
}

// mostMonitored bounds what is read of an answer: a server's is some kilobytes.
const mostMonitored = 1 << 20

// Monitor asks a server's HTTP monitoring, at its /varz. A server that syncs always shows the default interval beside
// that, which is not in force then (nats-server 2.15.2).
func Monitor(ctx context.Context, monitorURL string) (Monitored, error) {
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitorURL, "/")+"/varz", nil)
	if err != nil {
		return Monitored{}, err
	}
	// It is asked once.
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return Monitored{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return Monitored{}, fmt.Errorf("%s: %s", r.URL, answer.Status)
	}
	var varz struct {
		Name      string `json:"server_name"`
		JetStream struct {
			Config *struct {
				Interval time.Duration `json:"sync_interval"`
				Always   bool          `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, mostMonitored)).Decode(&varz); err != nil {
		return Monitored{}, fmt.Errorf("%s: %w", r.URL, err)
	}
	config := varz.JetStream.Config
	if config == nil {
		return Monitored{}, fmt.Errorf("%s: the server %s has no JetStream", r.URL, varz.Name)
	}
	return Monitored{Server: varz.Name, Always: config.Always, Interval: config.Interval}, nil
}

// Durable warns of a stream whose server may confirm what a power loss takes from it: of one replica, and the server
// does not sync before it confirms, or nobody knows. monitorURL is that of the server's HTTP monitoring, "" for none.
// It returns "" if all is well.
func (s *Source) Durable(ctx context.Context, monitorURL string) (warning string) {
	info := s.view.stream.CachedInfo()
	if info.Config.Replicas > 1 {
		return ""
	}
	const loses = "JetStream then confirms what is not on disk yet, and a power loss takes events whose publishers " +
		"were told that they are safe"
	advice := fmt.Sprintf("set 'sync_interval: always' in the jetstream block of the server's configuration and "+
		"restart it, or, in a cluster, type 'nats stream edit %s --replicas=3 --force'", s.view.cfg.Stream)
	look := "give --nats-monitor-url (as http://HOST:8222, where the server's configuration has 'http: 8222') to " +
		"have that looked at"
	if monitorURL == "" {
		return fmt.Sprintf("%s has one replica, and it is not known whether its server syncs before it confirms (by "+
			"default it does so every 2m); if not: %s; %s; %s",
			s.view.cfg.Stream, loses, advice, look)
	}
	server := s.nc.ConnectedServerName()
	if info.Cluster != nil && info.Cluster.Leader != "" {
		server = info.Cluster.Leader
	}
	m, err := Monitor(ctx, monitorURL)
	switch {
	case err != nil:
		return fmt.Sprintf("%s has one replica, and --nats-monitor-url does not tell whether its server syncs before "+
			"it confirms (%v); if not: %s; %s",
			s.view.cfg.Stream, err, loses, advice)
	case m.Server != server:
		return fmt.Sprintf("%s has one replica, at the server %s, and --nats-monitor-url is that of the server %s; "+
			"give that of %s", s.view.cfg.Stream, server, m.Server, server)
	case !m.Always:
		return fmt.Sprintf("%s has one replica, and its server syncs every %v: %s; %s", s.view.cfg.Stream, m.Interval,
			loses, advice)
	}
	return ""
}
