package main

import (
	"fmt"
	"strconv"
	"strings"

	"crmintake/worker/pipeline"
)

// breakerFlag is a share in percent of a number of inputs.
type breakerFlag pipeline.Breaker

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *breakerFlag) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*f = breakerFlag{Off: true}
		return nil
	}
	share, window, _ := strings.Cut(string(text), "/")
	percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
	n, werr := strconv.Atoi(window)
	if err != nil || werr != nil || !strings.HasSuffix(share, "%") || !(percent > 0 && percent < 100) || n < 1 {
		return fmt.Errorf("%q: want a share of a number of inputs, as 50%%/500, or off", text)
	}
	*f = breakerFlag{Share: percent / 100, Window: n}
	return nil
}
