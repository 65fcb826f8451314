package flags

import (
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"

	"crmintake/worker/jetstream"
)

// natsFlags say where the events are, and who asks for them.
type NATS struct {
	NATSURL string `name:"nats-url" help:"NATS server; several, of one cluster, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	Domain  string `name:"nats-domain" help:"JetStream domain that has the stream; without it, that of the NATS server. At a leaf node, to use the hub's." placeholder:"NAME"`
	Stream  string `help:"JetStream stream that holds the events." default:"CRM_EVENTS" placeholder:"NAME"`
	Subject string `help:"Subject of the events; the object type stands in place of the wildcard." default:"crm.create.>" placeholder:"SUBJECT"`
	NATSAuth
}

// natsAuthFlags say who we are, in one of four ways, and whom we trust. All files are read again at each connection.
type NATSAuth struct {
	NATSUser         string `name:"nats-user" help:"User of the NATS servers, with a password." placeholder:"USER"`
	NATSPassword     string `name:"nats-password" help:"The user's password. Better given by its environment variable or by --nats-password-file." placeholder:"PASSWORD"`
	NATSPasswordFile string `name:"nats-password-file" help:"A file with the password. It is read at each connection." placeholder:"FILE"`
	NATSToken        string `name:"nats-token" help:"The NATS servers' token. Better given by its environment variable or by --nats-token-file." placeholder:"TOKEN"`
	NATSTokenFile    string `name:"nats-token-file" help:"A file with the token. It is read at each connection." placeholder:"FILE"`
	NATSNKeyFile     string `name:"nats-nkey-file" help:"A file with an nkey's seed. It is read at each connection." placeholder:"FILE"`
	NATSCredsFile    string `name:"nats-creds-file" help:"A credentials file with a JWT and its seed, as nsc writes it. It is read at each connection." placeholder:"FILE"`
	NATSCAFile       string `name:"nats-ca-file" help:"Certificates of the authorities that the NATS servers' are to be from, instead of the system's. With it there is no connection without TLS." placeholder:"FILE"`
	NATSCertFile     string `name:"nats-cert-file" help:"Our own certificate, for NATS servers that ask for one." placeholder:"FILE"`
	NATSKeyFile      string `name:"nats-key-file" help:"The key of our own certificate." placeholder:"FILE"`
}

// auth says how to prove who we are. Its error is about the flags, and repeats none of their values.
func (f NATS) Auth() (jetstream.Auth, error) {
	password := Secret{"nats-password", f.NATSPassword, f.NATSPasswordFile}
	token := Secret{"nats-token", f.NATSToken, f.NATSTokenFile}
	for _, s := range []Secret{password, token} {
		if err := s.validate(); err != nil {
			return jetstream.Auth{}, err
		}
	}
	ways := 0
	for _, given := range []bool{
		strings.Contains(f.NATSURL, "@"), f.NATSUser != "" || password.given(), token.given(), f.NATSNKeyFile != "",
		f.NATSCredsFile != "",
	} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return jetstream.Auth{}, Usagef("there are several NATS credentials (in --nats-url, --nats-user, " +
			"--nats-token, --nats-nkey-file, --nats-creds-file); give one")
	case (f.NATSUser != "") != password.given():
		return jetstream.Auth{}, Usagef("--nats-user and --nats-password-file (or --nats-password) go together")
	case (f.NATSCertFile != "") != (f.NATSKeyFile != ""):
		return jetstream.Auth{}, Usagef("--nats-cert-file and --nats-key-file go together")
	}
	a := jetstream.Auth{NKeyFile: f.NATSNKeyFile, CredsFile: f.NATSCredsFile, CAFile: f.NATSCAFile,
		CertFile: f.NATSCertFile, KeyFile: f.NATSKeyFile}
	if password.given() {
		a.User, a.Password = f.NATSUser, password.latest()
	}
	if token.given() {
		a.Token = token.latest()
	}
	if err := a.Validate(); err != nil {
		return jetstream.Auth{}, Usage(err)
	}
	return a, nil
}

// connect connects to the servers, under a name that their monitoring shows.
func (f NATS) Connect(name string, log *slog.Logger) (*nats.Conn, error) {
	auth, err := f.Auth()
	if err != nil {
		return nil, err
	}
	return jetstream.Connect(f.NATSURL, name, log, auth)
}

// validate tells what is wrong with the flags before anything is touched.
func (f NATS) Check() error {
	if err := jetstream.ValidateURL(f.NATSURL); err != nil {
		return Usagef("--nats-url: %w", err)
	}
	_, err := f.Auth()
	return err
}

// consumerFlags name the durable consumer that all workers share.
type ConsumerName struct {
	Consumer string `help:"Durable consumer, shared by all workers." default:"crmintake" placeholder:"NAME"`
}
