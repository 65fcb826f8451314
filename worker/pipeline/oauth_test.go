package pipeline_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crmintake/outbox"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
)

// Whatever has MARKER in it is a secret.
const (
	clientSecret = "MARKER-client-secret"
	refreshToken = "MARKER-refresh-token"
)

func granted(rotate bool) hubspottest.Config {
	return hubspottest.Config{OAuth: &hubspottest.OAuth{ClientID: "app", ClientSecret: clientSecret, RefreshToken: refreshToken, Rotate: rotate}}
}

// oauth is the credential of one worker.
func (r *rig) oauth(vault hubspot.Vault, refresh hubspot.TokenSource) *hubspot.OAuth {
	r.t.Helper()
	o, err := hubspot.NewOAuth(hubspot.OAuthConfig{
		BaseURL: r.crm.URL, ClientID: "app", ClientSecret: hubspot.StaticToken(clientSecret), RefreshToken: refresh, Vault: vault,
	})
	r.must(err)
	r.t.Cleanup(o.Close)
	return o
}

// noSecret checks log and database.
func (r *outboxRig) noSecret() {
	r.t.Helper()
	if strings.Contains(r.log.String(), "MARKER") {
		r.t.Errorf("the log tells a secret:\n%s", r.log)
	}
	for _, table := range []string{"outbox", "attempt", "outbox_error", "pause", "worker", "credential"} {
		for _, row := range r.rows(`SELECT t::text FROM ` + table + ` t`) {
			if strings.Contains(row, "MARKER") || strings.Contains(row, hex.EncodeToString([]byte("MARKER"))) {
				r.t.Errorf("%s tells a secret: %s", table, row)
			}
		}
	}
}

// older makes the access token one that has lived for a while.
func (r *rig) older(by string) {
	r.t.Helper()
	r.admin().exec(`UPDATE credential SET updated_at = updated_at - $1::text::interval`, by)
}

// The fleet makes one access token, also when each of many calls finds it expired in mid-flight; that is no pause and costs no attempt.
func TestOAuthRefreshesOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, granted(true))
	s := r.store()
	r.publish(named("contracts", "a", 500)...)
	var fleet []*running
	for _, name := range []string{"one", "two"} {
		cfg := config()
		cfg.Name = name
		cfg.Batch.Size = 20
		fleet = append(fleet, r.start(cfg, r.oauth(s.Vault, hubspot.StaticToken(refreshToken))))
	}
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 500")
	if n := r.crm.Stats().Refreshes; n != 1 {
		t.Errorf("%d access tokens for two workers", n)
	}
	r.older("2 min")
	r.crm.ExpireTokens()
	r.publish(named("contracts", "b", 500)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 1000")
	for _, w := range fleet {
		w.stop()
	}
	stats := r.crm.Stats()
	if stats.Refreshes != 2 || stats.Statuses[401] == 0 || stats.Malformed > 0 {
		t.Errorf("%d access tokens, %d refused calls, %d malformed", stats.Refreshes, stats.Statuses[401], stats.Malformed)
	}
	r.exactlyOnce("contracts", 1000)
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
	if strings.Contains(r.log.String(), "calls are paused") {
		t.Error("an expired token made a pause")
	}
	r.noSecret()
}

// A revoked grant is a pause with a clear reason. A new refresh token in its file ends it at once.
func TestOAuthRevoked(t *testing.T) {
	t.Parallel()
	r := newRig(t, granted(false))
	file := filepath.Join(t.TempDir(), "refresh")
	r.must(os.WriteFile(file, []byte(refreshToken+"\n"), 0o600))
	cfg := config()
	cfg.TrialInterval = time.Hour
	w := r.start(cfg, r.oauth(r.store().Vault, hubspot.NewFileToken(file)))
	r.publish(named("contracts", "a", 10)...)
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 10")
	r.older("2 min")
	r.crm.RevokeGrant()
	r.publish(named("contracts", "b", 10)...)
	r.until(`SELECT object_type, cause, reason LIKE 'the OAuth grant was revoked%install the app again%invalid_grant%' FROM pause`, "* credential true")
	r.until(`SELECT count(*) FROM attempt WHERE closed_at IS NULL`, "0")
	r.crm.Grant("MARKER-another")
	r.must(os.WriteFile(file+".next", []byte("MARKER-another"), 0o600))
	r.must(os.Rename(file+".next", file))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY status`, "created 20")
	w.stop()
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
	r.noSecret()
}

// killed is a Vault whose worker dies between the API's answer and the commit.
type killed struct{ *outbox.Vault }

var errKilled = errors.New("killed")

func (k killed) ChangeSecret(ctx context.Context, name string, change func([]byte, time.Duration) ([]byte, error)) error {
	return k.Vault.ChangeSecret(ctx, name, func(value []byte, age time.Duration) ([]byte, error) {
		if _, err := change(value, age); err != nil {
			return nil, err
		}
		return nil, errKilled
	})
}

// A refresh token that was given and not kept is not used, so that the one before is still good, for this worker and for others; and
// neither is one whose answer was lost.
func TestOAuthRotatedAndKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t, granted(true))
	s := r.store()
	token := func(vault hubspot.Vault, want error) string {
		t.Helper()
		got, err := r.oauth(vault, hubspot.StaticToken(refreshToken)).Token(t.Context())
		if !errors.Is(err, want) || err != nil && strings.Contains(err.Error(), "MARKER") {
			t.Fatalf("error %v, want %v", err, want)
		}
		return got
	}
	for round := range 3 { // from the configured refresh token, then from others
		if got := token(killed{s.Vault}, hubspot.ErrTokenLater); got != "" {
			t.Error("a token that was not kept was given out")
		}
		r.crm.ScriptTokens(hubspottest.BreakAfter, hubspottest.TruncatedBody)
		token(s.Vault, hubspot.ErrTokenLater)
		token(s.Vault, hubspot.ErrTokenLater)
		first := token(s.Vault, nil)
		if again := token(s.Vault, nil); again != first {
			t.Errorf("another worker has another token")
		}
		r.publish(named("contracts", fmt.Sprint("c", round), 10)...)
		cfg := config()
		cfg.Drain = true
		r.start(cfg, r.oauth(s.Vault, hubspot.StaticToken(refreshToken))).wait()
		r.older("27 min") // it is replaced ahead of time, although still good
		if n := r.crm.Stats(); n.Refreshes != 4*(round+1) || n.Statuses[401] > 0 {
			t.Errorf("%d access tokens in round %d, %d refused calls", n.Refreshes, round, n.Statuses[401])
		}
	}
	r.exactlyOnce("contracts", 30)
	r.noSecret()
}

// A token endpoint that is down pauses nothing, and harms no event.
func TestOAuthEndpointDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, granted(false))
	r.crm.ScriptTokens(hubspottest.Answer503, hubspottest.Answer429, hubspottest.BreakBefore, hubspottest.HTMLBody)
	r.publish(named("contracts", "c", 10)...)
	cfg := config()
	cfg.InFlight, cfg.Drain = 1, true
	r.start(cfg, r.oauth(r.store().Vault, hubspot.StaticToken(refreshToken))).wait()
	r.exactlyOnce("contracts", 10)
	r.expect(`SELECT DISTINCT attempts FROM outbox`, "1")
	if strings.Contains(r.log.String(), "calls are paused") {
		t.Errorf("it was paused:\n%s", r.log)
	}
	r.noSecret()
}
