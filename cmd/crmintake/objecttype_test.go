package main

import (
	"strings"
	"testing"
)

// What is wrong with an object type is told by its own reason, and one with two id properties is refused.
func TestObjectTypeFaults(t *testing.T) {
	t.Parallel()
	newFixture(t)
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"long":               {[]string{"publish", "--object-type", long, "-"}, "has 300 bytes, more than the 100"},
		"long, paused":       {[]string{"pause", long, "--reason", "x"}, "has 300 bytes, more than the 100"},
		"no word":            {[]string{"publish", "--object-type", "a b", "-"}, "want letters, digits, _ and -"},
		"no word, paused":    {[]string{"pause", "a.b", "--reason", "x"}, "want letters, digits, _ and -"},
		"two properties":     {[]string{"check", "--id-property", "deals=a,deals=b"}, "both a and b for deals; give one"},
		"two flags":          {[]string{"check", "--id-property", "deals=a", "--id-property", "deals=b"}, "both a and b"},
		"two, of a replay":   {[]string{"dead", "replay", "--id-property", "deals=a,deals=b", "x"}, "both a and b"},
		"no property at all": {[]string{"check", "--id-property", "deals"}, "want objectType=property"},
	} {
		t.Run(name, func(t *testing.T) { crmintake(t, "", c.args...).want(t, 2, c.want) })
	}
	crmintake(t, `{"event_id":"a","object_type":"`+long+`","event":{"properties":{}}}`, "publish", "-").
		want(t, 1, "has 300 bytes, more than the 100")
	for _, text := range []string{"contracts=event_id,contracts=event_id", "", ","} {
		crmintake(t, "", "check", "--id-property", text).want(t, 0)
	}
	setenv(t, "CRMINTAKE_ID_PROPERTY", "contracts=name") // which is not unique; the flag wins over it
	crmintake(t, "", "check", "--id-property", "contracts=event_id").want(t, 0,
		"event_id of contracts is there and unique")
}
