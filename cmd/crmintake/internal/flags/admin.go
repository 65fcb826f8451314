package flags

import (
	"context"

	"crmintake/worker/admin"
	"crmintake/worker/hubspot"
)

// adminFlags say who may look at a worker.
type Admin struct {
	AdminAddr      string `help:"Where /metrics, /livez, /readyz and /debug/pprof are served. Port 0 takes a free one, and the log says which; or off. Any address but a loopback one wants --admin-token-file or --admin-client-ca." default:"127.0.0.1:8080" placeholder:"HOST:PORT|off"`
	AdminTokenFile string `help:"A file with the bearer token that /metrics and /debug/pprof want then. It is read again when it changes." placeholder:"FILE"`
	AdminCert      string `help:"A file with the certificate of the admin endpoints, for TLS. It is read again for each connection, as its key is." placeholder:"FILE"`
	AdminKey       string `help:"A file with the key of --admin-cert." placeholder:"FILE"`
	AdminClientCA  string `name:"admin-client-ca" help:"A file with the authorities whose clients' certificates open /metrics and /debug/pprof, as the token does." placeholder:"FILE"`
}

// config is what the flags say, nil for no endpoints.
func (f Admin) Config() (*admin.Config, error) {
	if f.AdminAddr == "off" {
		return nil, nil
	}
	c := &admin.Config{Addr: f.AdminAddr, CertFile: f.AdminCert, KeyFile: f.AdminKey, ClientCAFile: f.AdminClientCA}
	if f.AdminTokenFile != "" {
		token := hubspot.NewFileToken(f.AdminTokenFile) // a file of a token, whoever wants it
		if _, err := token.Token(context.Background()); err != nil {
			return nil, Usagef("--admin-token-file: %w", err)
		}
		c.Token = token
	}
	if err := c.Validate(); err != nil {
		return nil, Usagef("%w (--admin-addr, --admin-token-file, --admin-cert, --admin-key, --admin-client-ca)", err)
	}
	return c, nil
}
