package pipeline

import "testing"

// Each status has a class, and there is no other.
func TestStatusClass(t *testing.T) {
	for status, want := range map[int]string{
		0: "none", -1: "none", 100: "none", 199: "none", 200: "2xx", 201: "2xx", 207: "207", 302: "3xx", 400: "400", 402: "4xx", 418: "4xx",
		429: "429", 477: "477", 499: "4xx", 500: "5xx", 521: "5xx", 599: "5xx", 600: "none", 999: "none",
	} {
		if got := statusClass(status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}
