package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nodeSnippet is the example for Node in worker/event/README.md, with what it has one install.
var nodeSnippet = regexp.MustCompile("(?s)<summary>Node</summary>.*?as `(\\S+\\.mjs)`.*?```js\n(.*?)```")

var npmInstall = regexp.MustCompile(`// (npm install .*)`)

// The snippet for Node in worker/event/README.md runs as it is printed, but for the server's address: one event is in
// the stream, however often.
func TestNodeSnippet(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root, "worker/event/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := nodeSnippet.FindStringSubmatch(string(content))
	if found == nil {
		t.Fatal("worker/event/README.md has no snippet for Node")
	}
	name, snippet := found[1], found[2]
	dir := t.TempDir()
	run := func(words ...string) error {
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Dir = dir
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, said)
		}
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(run(strings.Fields(npmInstall.FindStringSubmatch(snippet)[1])...))
	natsServer, crmintake := filepath.Join(dir, "nats-server"), filepath.Join(dir, "crmintake")
	for out, pkg := range map[string]string{natsServer: "github.com/nats-io/nats-server/v2",
		crmintake: "./cmd/crmintake"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	said := filepath.Join(dir, "said")
	start(t, said, natsServer, "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-js", "-sd", filepath.Join(dir, "data"))
	var port, monitor string
	await(t, "the NATS server listens", func() error {
		if err := contains(said, regexp.MustCompile(`Listening for client connections on 127.0.0.1:(\d+)`),
			&port); err != nil {
			return err
		}
		return contains(said, regexp.MustCompile(`Starting http monitor on 127.0.0.1:(\d+)`), &monitor)
	})
	url := "nats://127.0.0.1:" + port
	// There is no database, and it makes the stream.
	err = run(crmintake, "init", "--nats-url", url, "--database-url", "postgres://127.0.0.1:1/x")
	if err == nil || !strings.Contains(err.Error(), "CRM_EVENTS  created") {
		t.Fatal(err)
	}
	// Two runs of node may take longer than the window that init makes.
	client, err := nats.Connect(url)
	must(err)
	defer client.Close()
	js, err := jetstream.New(client)
	must(err)
	stream, err := js.Stream(t.Context(), "CRM_EVENTS")
	must(err)
	config := stream.CachedInfo().Config
	config.Duplicates = time.Hour
	_, err = js.UpdateStream(t.Context(), config)
	must(err)
	if !strings.Contains(snippet, "nats://127.0.0.1:4222") {
		t.Fatal("it connects to another server")
	}
	snippet = strings.Replace(snippet, "nats://127.0.0.1:4222", url, 1)
	must(os.WriteFile(filepath.Join(dir, name), []byte(snippet), 0o600))
	for range 2 {
		must(run("node", name))
	}
	answer, err := http.Get("http://127.0.0.1:" + monitor + "/jsz")
	must(err)
	defer answer.Body.Close()
	var jsz struct{ Streams, Messages int }
	must(json.NewDecoder(answer.Body).Decode(&jsz))
	if jsz.Streams != 1 || jsz.Messages != 1 {
		t.Errorf("%+v", jsz)
	}
}
