package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/view"
)

// version and commit are for builds from sources without a git repository, as in a container, which name them by
// -ldflags '-X main.version=1.2.3 -X main.commit=…'. Nothing else sets them.
var version, commit string

type versionCmd struct{}

// versionFlag is for who looks for --version.
type versionFlag bool

// BeforeReset implements kong's hook: what else is on the line does not count.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	_, err := fmt.Fprintln(k.Stdout, thisBuild())
	k.Exit(exitDone)
	return err
}

// build says which build this is, from what it was told or the Go tool recorded in it.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified,omitempty"` // built from sources that were not all committed
	Go       string `json:"go"`
}

func thisBuild() build {
	b := build{Version: "devel", Commit: "unknown", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			b.Version = v
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if version != "" {
		b.Version = version
	}
	if commit != "" {
		b.Commit, b.Modified = commit, false
	}
	return b
}

func (versionCmd) Run(p *program) error {
	b := thisBuild()
	if p.Output == "json" {
		return view.JSON(p.out, b)
	}
	_, err := fmt.Fprintln(p.out, b)
	return err
}

func (b build) String() string {
	modified := ""
	if b.Modified {
		modified = ", modified"
	}
	return fmt.Sprintf("crmintake %s (commit %s%s, %s)", b.Version, b.Commit, modified, b.Go)
}

func userAgent() string { return "crmintake/" + thisBuild().Version }
