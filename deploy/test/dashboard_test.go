package test

import (
	"errors"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The dashboard has nothing but what Grafana's own types have, panels and queries included.
func TestDashboard(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	content, err := os.ReadFile("../grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 the classic form is the one that every Grafana takes from a file
	var d dashboard.Dashboard
	err = d.UnmarshalJSONStrict(content)
	// an empty list is no fault
	if faults := (cog.BuildErrors{}); err != nil && (!errors.As(err, &faults) || len(faults) > 0) {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}
