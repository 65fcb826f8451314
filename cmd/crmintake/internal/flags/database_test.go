package flags

import "testing"

func TestHasPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"postgres://u:p@h/d": true, "postgres://u@h/d": false, "postgres://h/d?password=p": true,
		"host=h user=u": false, "host=h password=p": true,
	} {
		if hasPassword(address) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}
