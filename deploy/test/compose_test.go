package test

import (
	"os"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// The compose file is good, and what it names is there.
func TestCompose(t *testing.T) {
	t.Parallel()
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithInterpolation(true),
		cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := func(path string) {
		t.Helper()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	list := stages(t)
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				there(v.Source)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %d can be reached from elsewhere", name, p.Target)
			}
		}
		if s.Build != nil {
			stage(t, list, s.Build.Target)
			if !s.ReadOnly || len(s.CapDrop) == 0 {
				t.Errorf("%s: our programs need no root that they can write, and no capabilities", name)
			}
		}
	}
	for _, s := range project.Secrets {
		there(s.File)
	}
	// A credential goes to the simulated CRM over plain http, so it must be in the worker's own network.
	if mode := project.Services["worker"].NetworkMode; mode != "service:crm" {
		t.Errorf("the worker's network is %q", mode)
	}
}
