package jetstream

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Auth is how a connection proves to the servers who it is, and how they prove it to us. The zero value has nothing
// beyond what the URLs hold, and trusts the authorities that the system trusts. Every file is read again at each
// connection, so that it may be replaced at any time; no error holds anything of what is in one.
type Auth struct {
	// One of these at most, and none where a URL holds a user or a token.
	User      string
	Password  func() string // of User; asked at each connection, as Token is
	Token     func() string
	NKeyFile  string // an nkey's seed
	CredsFile string // a JWT and its seed, as nsc writes them

	CAFile            string // authorities, instead of the system's; there is no connection without TLS then
	CertFile, KeyFile string // our own certificate; both or none
}

// Validate reports files that can't be read, or are not what they should be.
func (a Auth) Validate() error {
	list, _, err := a.options()
	if err != nil {
		return err
	}
	var o nats.Options
	for _, option := range list { // those of TLS read their files
		if err := option(&o); err != nil {
			return err
		}
	}
	return nil
}

// options are those of the client. The key is nil if there is no nkey.
func (a Auth) options() (list []nats.Option, key *nkey, err error) {
	switch {
	case a.Password != nil:
		list = append(list, nats.UserInfoHandler(func() (string, string) { return a.User, a.Password() }))
	case a.Token != nil:
		list = append(list, nats.TokenHandler(a.Token))
	case a.CredsFile != "":
		b, err := os.ReadFile(a.CredsFile)
		if err != nil {
			return nil, nil, fmt.Errorf("NATS credentials: %w", err)
		}
		if _, err = nkeys.ParseDecoratedJWT(b); err == nil {
			_, err = nkeys.ParseDecoratedUserNKey(b)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("NATS credentials: %s: %w", a.CredsFile, err)
		}
		list = append(list, nats.UserCredentials(a.CredsFile))
	case a.NKeyFile != "":
		key = &nkey{file: a.NKeyFile}
		pair, err := key.read()
		if err != nil {
			return nil, nil, err
		}
		list = append(list, nats.Nkey(key.public, key.sign))
		pair.Wipe()
	}
	if a.CAFile != "" {
		list = append(list, nats.RootCAs(a.CAFile))
	}
	if a.CertFile != "" {
		list = append(list, nats.ClientCert(a.CertFile, a.KeyFile))
	}
	return list, key, nil
}

// nkey answers the servers' challenges with the seed in a file.
//
// The client is told its public key once, when it is made. When the file has another seed since, the client's key is
// changed in sign, for which it holds its lock, and that try to connect is given up: the next one is made with the new
// key.
type nkey struct {
	file   string
	public string                    // as the client has it
	conn   atomic.Pointer[nats.Conn] // nil until it has connected for the first time
}

var errNewKey = errors.New("the nkey's file has another key now, with which the next try is made")

// read reads the seed, and at first makes its key the one to connect with. Wipe the pair.
func (k *nkey) read() (nkeys.KeyPair, error) {
	b, err := os.ReadFile(k.file)
	if err != nil {
		return nil, fmt.Errorf("nkey: %w", err)
	}
	defer clear(b)
	pair, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return nil, fmt.Errorf("nkey: %s: %w", k.file, err)
	}
	if k.public == "" {
		if k.public, err = pair.PublicKey(); err != nil {
			return nil, fmt.Errorf("nkey: %s: %w", k.file, err)
		}
	}
	return pair, nil
}

func (k *nkey) sign(nonce []byte) ([]byte, error) {
	pair, err := k.read()
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("nkey: %s: %w", k.file, err)
	}
	if public != k.public {
		if nc := k.conn.Load(); nc != nil {
			k.public, nc.Opts.Nkey = public, public
		}
		return nil, errNewKey
	}
	return pair.Sign(nonce)
}
