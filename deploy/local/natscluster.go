package local

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"crmintake/deploy/local/internal/loopback"
)

// natsClusterSize is the smallest that goes on working without one of its servers.
const natsClusterSize = 3

// NATSClusterConfig says how to run a cluster of NATS servers.
type NATSClusterConfig struct {
	Log io.Writer // the log of all servers; nil for nowhere. Writes overlap.
}

// NATSCluster is three NATS servers with JetStream in this process, each with a store of its own, so that streams and
// consumers can have three replicas. Its methods may be called by many goroutines at once.
type NATSCluster struct {
	servers []*NATS
}

// StartNATSCluster returns when the servers have found each other and agreed on who leads them.
func StartNATSCluster(cfg NATSClusterConfig) (*NATSCluster, error) {
	// A port may have been taken since we looked.
	for attempt := 1; ; attempt++ {
		c := &NATSCluster{}
		err := c.start(cfg)
		if err == nil {
			return c, nil
		}
		if err = errors.Join(err, c.Stop()); attempt == 3 {
			return nil, fmt.Errorf("start a NATS cluster: %w", err)
		}
	}
}

func (c *NATSCluster) start(cfg NATSClusterConfig) error {
	ports := make([]int, 2*natsClusterSize) // for clients, and for routes
	for i := range ports {
		var err error
		if ports[i], err = loopback.FreePort(); err != nil {
			return err
		}
	}
	var routes []*url.URL
	for _, port := range ports[natsClusterSize:] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: loopback.Host + ":" + strconv.Itoa(port)})
	}
	for i := range natsClusterSize {
		n := &NATS{log: &natsLog{to: cfg.Log}}
		var err error
		var dir string
		if dir, n.remove, err = TempDir("crmintake-nats-"); err != nil {
			return err
		}
		n.options = server.Options{
			ServerName: "local-" + strconv.Itoa(i+1),
			Host:       loopback.Host,
			Port:       ports[i],
			JetStream:  true,
			StoreDir:   dir,
			NoSigs:     true,
			Cluster:    server.ClusterOpts{Name: "local", Host: loopback.Host, Port: ports[natsClusterSize+i]},
			Routes:     routes,
		}
		c.servers = append(c.servers, n)
		if err := n.Restart(); err != nil {
			return err
		}
	}
	for limit := time.Now().Add(natsReady); !c.ready(); {
		if time.Now().After(limit) {
			return fmt.Errorf("the servers have not agreed on a leader within %v", natsReady)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// ready tells whether the servers know each other and their leader.
func (c *NATSCluster) ready() bool {
	leaders := c.which(func(s *server.Server) bool {
		return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == natsClusterSize
	})
	return len(leaders) == 1 && len(c.which((*server.Server).JetStreamIsCurrent)) == natsClusterSize
}

// which returns the indices of the running servers that something is true of.
func (c *NATSCluster) which(is func(*server.Server) bool) (list []int) {
	for i, n := range c.servers {
		n.mu.Lock()
		s := n.server
		n.mu.Unlock()
		if s != nil && is(s) {
			list = append(list, i)
		}
	}
	return list
}

// URL names all servers, separated by commas. It is the same over stops and starts.
func (c *NATSCluster) URL() string {
	urls := make([]string, len(c.servers))
	for i, n := range c.servers {
		urls[i] = n.URL()
	}
	return strings.Join(urls, ",")
}

// StreamLeader is the number of the server that leads a stream; ok is false while there is none.
func (c *NATSCluster) StreamLeader(stream string) (number int, ok bool) {
	return first(c.which(func(s *server.Server) bool {
		return s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT,
			stream)
	}))
}

// ConsumerLeader is the number of the server that leads a consumer; ok is false while there is none.
func (c *NATSCluster) ConsumerLeader(stream, consumer string) (number int, ok bool) {
	return first(c.which(func(s *server.Server) bool {
		return s.JetStreamIsConsumerLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream, consumer)
	}))
}

// Current tells whether all servers run and have all of a stream.
func (c *NATSCluster) Current(stream string) bool {
	current := c.which(func(s *server.Server) bool {
		return s.JetStreamIsStreamCurrent(server.DEFAULT_GLOBAL_ACCOUNT,
			stream)
	})
	return len(current) == len(c.servers)
}

func first(list []int) (int, bool) {
	if len(list) == 0 {
		return 0, false
	}
	return list[0], true
}

// StopServer shuts one server down, which disconnects its clients; another takes over what it leads. It does nothing
// if the server is down.
func (c *NATSCluster) StopServer(number int) {
	n := c.servers[number]
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shutdown()
}

// StartServer starts a server again, with the same ports and store.
func (c *NATSCluster) StartServer(number int) error { return c.servers[number].Restart() }

// Stop shuts all servers down and removes their stores. It is final; calling it again does nothing.
func (c *NATSCluster) Stop() error {
	var errs []error
	for _, n := range c.servers {
		errs = append(errs, n.Stop())
	}
	return errors.Join(errs...)
}
