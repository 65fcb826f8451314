package test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const root = "../.." // the repository's

// stages parses the Dockerfile. What BuildKit warns of fails the test.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	file, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("Dockerfile:%d: %s: %s", at[0].Start.Line, rule, message)
	}})
	list, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// stage finds a stage by its name.
func stage(t *testing.T, list []instructions.Stage, name string) instructions.Stage {
	t.Helper()
	i := slices.IndexFunc(list, func(s instructions.Stage) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("the Dockerfile has no stage %q", name)
	}
	return list[i]
}

// buildContext copies what Docker would send of the repository into a new directory.
func buildContext(t *testing.T) string {
	t.Helper()
	file, err := os.Open("../Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	err = fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(path); err != nil || skip {
			return err
		}
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(path)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// build does what a stage's RUN says, on the build's context, and returns what it put into /out.
func build(t *testing.T, s instructions.Stage, context string) string {
	t.Helper()
	i := slices.IndexFunc(s.Commands, func(c instructions.Command) bool {
		_,
			ok := c.(*instructions.RunCommand)
		return ok
	})
	if i < 0 {
		t.Fatalf("stage %s runs nothing", s.Name)
	}
	out := t.TempDir()
	line := strings.Join(s.Commands[i].(*instructions.RunCommand).CmdLine, " ")
	if !strings.Contains(line, "-o /out/") {
		t.Fatalf("stage %s builds nothing into /out: %s", s.Name, line)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(line, "-o /out/", "-o "+out+"/"))
	cmd.Dir = context
	cmd.Env = append(os.Environ(), "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "VERSION=v1.2.3",
		"COMMIT=0123abc", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said)
	}
	return out
}

// alone is the image's user, who sees nothing but a directory. Who is not root becomes that in a user namespace.
func alone(dir string) *syscall.SysProcAttr {
	const user = 65532
	a := &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: user, Gid: user}}
	if os.Geteuid() != 0 {
		a.Cloneflags, a.Credential.NoSetGroups = syscall.CLONE_NEWUSER, true
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// The images hold one static program each, which no root runs and which needs nothing beside it.
func TestImages(t *testing.T) {
	t.Parallel()
	list, context := stages(t), buildContext(t)
	for _, image := range []struct {
		name, build, program string
		args                 []string // that need no server
		tells                string
	}{
		{"crmintake", "build", "/crmintake", []string{"version", "--output", "json"}, `"v1.2.3"`},
		{"demo", "build-demo", "/demo", []string{"crm", "--help"}, "simulated CRM"},
	} {
		t.Run(image.name, func(t *testing.T) {
			s := stage(t, list, image.name)
			if s.BaseName != "scratch" {
				t.Errorf("it is based on %s", s.BaseName)
			}
			user, entry := "", ""
			for _, c := range s.Commands {
				switch c := c.(type) {
				case *instructions.UserCommand:
					user = c.User
				case *instructions.EntrypointCommand:
					entry = strings.Join(c.CmdLine, " ")
				}
			}
			if user != "65532:65532" || entry != image.program {
				t.Errorf("user %q runs %q", user, entry)
			}

			dir := build(t, stage(t, list, image.build), context)
			program, err := elf.Open(filepath.Join(dir, image.program))
			if err != nil {
				t.Fatal(err)
			}
			defer program.Close()
			if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
				t.Errorf("it is linked with %v (%v)", libraries, err)
			}
			if err := os.Chmod(dir, 0o555); err != nil { // the root is read-only
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(dir, 0o755) }) // or who is not root could not remove it
			cmd := exec.CommandContext(t.Context(), image.program, image.args...)
			cmd.Dir, cmd.Env = "/", []string{}
			cmd.SysProcAttr = alone(dir)
			said, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(said, []byte(image.tells)) {
				t.Errorf("%v: %v\n%s", cmd.Args, err, said)
			}
		})
	}
	if last := list[len(list)-1].Name; last != "crmintake" {
		t.Errorf("without --target the image is %s", last)
	}
}

// printed is for messages.
func printed(v any) string {
	b, _ := json.MarshalIndent(v, "", "  ")
	return string(b)
}
