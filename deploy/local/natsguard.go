package local

import (
	"fmt"
	"os"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// NKeyGuard makes an nkey, writes its seed to a file, and returns what has a server let in nobody else: see
// NATSConfig.Options.
func NKeyGuard(seedFile string) (func(*server.Options), error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("nkey: %w", err)
	}
	public, err := user.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("nkey: %w", err)
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, fmt.Errorf("nkey: %w", err)
	}
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		return nil, err
	}
	return func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, nil
}

// CredsGuard makes an operator and an account with one user, whose credentials it writes to a file, as nsc does, and
// returns what has a server let in nobody else: see NATSConfig.Options.
func CredsGuard(credsFile string) (func(*server.Options), error) {
	g := guard{resolver: &server.MemAccResolver{}}
	operator := g.pair(nkeys.CreateOperator)
	system := g.account(operator, jwt.JetStreamLimits{})
	account := g.account(operator, jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1})
	user := g.pair(nkeys.CreateUser)
	if g.err != nil {
		return nil, fmt.Errorf("credentials: %w", g.err)
	}
	token, err := jwt.NewUserClaims(user.public).Encode(account.KeyPair)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if err := os.WriteFile(credsFile, creds, 0o600); err != nil {
		return nil, err
	}
	return func(o *server.Options) {
		o.TrustedOperators = []*jwt.OperatorClaims{jwt.NewOperatorClaims(operator.public)}
		o.AccountResolver, o.SystemAccount = g.resolver, system.public
	}, nil
}

// guard makes what a server in operator mode knows.
type guard struct {
	resolver *server.MemAccResolver
	err      error // the first one; nothing is done after it
}

type pair struct {
	nkeys.KeyPair
	public string
}

func (g *guard) pair(create func() (nkeys.KeyPair, error)) (p pair) {
	if g.err != nil {
		return p
	}
	if p.KeyPair, g.err = create(); g.err == nil {
		p.public, g.err = p.PublicKey()
	}
	return p
}

// account makes an account that the operator vouches for.
func (g *guard) account(operator pair, limits jwt.JetStreamLimits) pair {
	a := g.pair(nkeys.CreateAccount)
	if g.err != nil {
		return a
	}
	claims := jwt.NewAccountClaims(a.public)
	claims.Limits.JetStreamLimits = limits
	token, err := claims.Encode(operator.KeyPair)
	if err == nil {
		err = g.resolver.Store(a.public, token)
	}
	g.err = err
	return a
}
