package download

import "context"

// Have gets a release of a test's own.
func (c Config) Have(ctx context.Context, version, sum string) (bin string, err error) {
	return c.have(ctx, release{version, platform(), sum})
}
