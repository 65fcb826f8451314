package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// infoWait bounds what is asked of the server's API.
const infoWait = 5 * time.Second

// explainAt is explain that names the server's domain: a stream that is missing may be in another one.
func (c Config) explainAt(ctx context.Context, js jetstream.JetStream, err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) && c.Domain == "" {
		if domain := domainOf(ctx, js); domain != "" {
			return fmt.Errorf("%w; this server's JetStream is the domain %s: if the stream is in another one, give "+
				"that in --nats-domain",
				c.explain(err), domain)
		}
	}
	return c.explain(err)
}

// domainOf is the domain of the JetStream that answers; "" if it has none, or does not answer.
func domainOf(ctx context.Context, js jetstream.JetStream) string {
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return ""
	}
	return info.Domain
}

// explain makes an error of the JetStream API one with what to type.
func (c Config) explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("the stream %s does not exist on this NATS server; type '%s' to create it", c.Stream,
			c.command("init"))
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("the stream %s has no consumer %s; type '%s' to create it", c.Stream, c.Consumer,
			c.command("init"))
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return fmt.Errorf("the consumer %s of stream %s is a push consumer; crmintake needs a pull consumer: if "+
			"nobody else uses it %s, else choose another name with --consumer",
			c.Consumer, c.Stream, c.recreateConsumer(jetstream.WorkQueuePolicy, 0))
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the NATS server has JetStream switched off, at least for this account: start nats-server "+
			"with -js (or jetstream {} in its configuration, and jetstream: enabled for the account): %w", err)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("no JetStream answers on this NATS server: it is switched off, or not up yet; start "+
			"nats-server with -js (or jetstream {} in its configuration): %w", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("JetStream does not answer for the stream %s: %w", c.Stream, err)
	default:
		return fmt.Errorf("jetstream: %w", err)
	}
}
