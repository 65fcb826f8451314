package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	stream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	chart      = "../helm/crmintake"
	everything = "testdata/everything.yaml"
)

// helm runs Helm and returns what it prints.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryHelm(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryHelm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	// Helm takes itself for one of an old cluster when it is built as a tool.
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "helm", "--kube-version", "1.34.0"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String(), nil
}

// manifests renders the chart, strictly: a field that its type does not have, or one twice, fails the test.
func manifests(t *testing.T, args ...string) map[string]any {
	t.Helper()
	found := map[string]any{}
	out := helm(t, append([]string{"template", "crmintake", chart, "--namespace", "crm"}, args...)...)
	for documents := stream.NewYAMLReader(bufio.NewReader(strings.NewReader(out))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		var head meta.TypeMeta
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		var object any
		switch kind := head.APIVersion + " " + head.Kind; kind {
		case "apps/v1 Deployment":
			object = new(apps.Deployment)
		case "batch/v1 Job":
			object = new(batch.Job)
		case "policy/v1 PodDisruptionBudget":
			object = new(policy.PodDisruptionBudget)
		case "networking.k8s.io/v1 NetworkPolicy":
			object = new(networking.NetworkPolicy)
		case "keda.sh/v1alpha1 ScaledObject":
			object = new(keda.ScaledObject)
		case "monitoring.coreos.com/v1 PodMonitor":
			object = new(monitoring.PodMonitor)
		default:
			t.Fatalf("nobody checks a %s\n%s", kind, document)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Errorf("%v\n%s", err, document)
		}
		if found[head.Kind] != nil {
			t.Errorf("%s is there twice", head.Kind)
		}
		found[head.Kind] = object
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		kinds []string
	}{
		"as it comes": {nil, []string{"Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget"}},
		"everything": {[]string{"--values", everything}, []string{"Deployment", "Job", "NetworkPolicy",
			"PodDisruptionBudget", "PodMonitor", "ScaledObject"}},
		"next to nothing": {[]string{"--set",
			"init.enabled=false,podDisruptionBudget.enabled=false,networkPolicy.enabled=false,topologySpread=false"},
			[]string{"Deployment"}},
	} {
		t.Run(name, func(t *testing.T) {
			helm(t, append([]string{"lint", "--strict", chart}, c.args...)...)
			found := manifests(t, c.args...)
			var kinds []string
			for kind := range found {
				kinds = append(kinds, kind)
			}
			if slices.Sort(kinds); !slices.Equal(kinds, c.kinds) {
				t.Errorf("there are %v, want %v", kinds, c.kinds)
			}
			worker := found["Deployment"].(*apps.Deployment)
			hardened(t, worker.Spec.Template.Spec)
			if grace := *worker.Spec.Template.Spec.TerminationGracePeriodSeconds; grace <= 20 {
				t.Errorf("%d s are no longer than --shutdown-timeout", grace)
			}
			if job := found["Job"]; job != nil {
				hardened(t, job.(*batch.Job).Spec.Template.Spec)
			}
			if budget := found["PodDisruptionBudget"]; budget != nil &&
				!selects(budget.(*policy.PodDisruptionBudget).Spec.Selector, worker) {
				t.Error("the disruption budget is not the workers'")
			}
			if network := found["NetworkPolicy"]; network != nil &&
				!selects(&network.(*networking.NetworkPolicy).Spec.PodSelector, worker) {
				t.Error("the network policy is not the workers'")
			}
			if monitor := found["PodMonitor"]; monitor != nil &&
				!selects(&monitor.(*monitoring.PodMonitor).Spec.Selector, worker) {
				t.Error("the monitor does not see the workers")
			}
			if scaled := found["ScaledObject"]; scaled != nil {
				if scaled.(*keda.ScaledObject).Spec.ScaleTargetRef.Name != worker.Name || worker.Spec.Replicas != nil {
					t.Error("the workers' number is not KEDA's to decide")
				}
			}
		})
	}
}

// hardened tells what a pod may do that it need not, and what it says of credentials.
func hardened(t *testing.T, pod core.PodSpec) {
	t.Helper()
	c := pod.Containers[0]
	s, p := c.SecurityContext, pod.SecurityContext
	if !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || len(s.Capabilities.Drop) != 1 || !*p.RunAsNonRoot ||
		p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod may do more than it needs to: %s", printed(pod))
	}
	for _, e := range c.Env {
		if strings.HasSuffix(e.Name, "_URL") && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil) {
			t.Errorf("%s is no Secret's", e.Name)
		}
	}
}

func selects(s *meta.LabelSelector, worker *apps.Deployment) bool {
	selector, err := meta.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels(worker.Spec.Template.Labels))
}

// labels implements what a selector asks.
type labels map[string]string

func (l labels) Has(name string) bool              { _, ok := l[name]; return ok }
func (l labels) Get(name string) string            { return l[name] }
func (l labels) Lookup(name string) (string, bool) { v, ok := l[name]; return v, ok }

// What is mistyped in values, or does not belong there, is refused.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		"replica=3", "settings.database-url=postgres://u:p@h/d", "settings.hubspot-token=t", "settings.admin-addr=:80",
		"settings.nats-password=p", "settings.QUOTA=off",
		"secretFiles.admin-token-file=null", "secretVariables.database-url=null", "secretFiles.admin-token-file.name=",
		"init.secretFiles.database-password-file.name=x", "init.secretFile.database-password-file.name=x",
		"scaling.minReplicas=0", "adminPort=80",
	} {
		if _, err := tryHelm(t, "template", "crmintake", chart, "--set", set); err == nil {
			t.Errorf("%s is taken", set)
		}
	}
}

// init may log in as somebody else than the workers. A password file beside an address that it is not for would be
// refused, or wrong.
func TestChartInitLogsInAsItself(t *testing.T) {
	t.Parallel()
	const (
		workers = "secretFiles.database-password-file.name=worker,secretFiles.database-password-file.key=password,secretFiles.nats-creds-file.name=n,secretFiles.nats-creds-file.key=c"
		address = ",init.secretVariables.database-url.name=owner,init.secretVariables.database-url.key=url"
		file    = ",init.secretFiles.database-password-file.name=owner,init.secretFiles.database-password-file.key=password"
	)
	for name, c := range map[string]struct{ set, address, file string }{
		"as the workers":                            {workers, "crmintake", "worker"},
		"by an address of its own":                  {workers + address, "owner", ""},
		"by an address and a file of its own":       {workers + address + file, "owner", "owner"},
		"by a file of its own, which they have not": {strings.TrimPrefix(address+file, ","), "owner", "owner"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := manifests(t, "--set", c.set)["Job"].(*batch.Job).Spec.Template.Spec
			var address, path, file, nats string
			for _, e := range pod.Containers[0].Env {
				switch e.Name {
				case "CRMINTAKE_DATABASE_URL":
					address = e.ValueFrom.SecretKeyRef.Name
				case "CRMINTAKE_DATABASE_PASSWORD_FILE":
					path = e.Value
				}
			}
			for _, v := range pod.Volumes {
				for _, source := range v.Projected.Sources {
					switch source.Secret.Items[0].Path {
					case "database-password-file":
						file = source.Secret.Name
					case "nats-creds-file":
						nats = source.Secret.Name
					}
				}
			}
			if address != c.address || file != c.file || (path != "") != (c.file != "") {
				t.Errorf("its address is of %q, its password of %q (%q); want %q and %q", address, file, path, c.address, c.file)
			}
			if want := strings.Contains(c.set, "nats-creds-file"); (nats != "") != want {
				t.Errorf("its login to NATS is of %q", nats)
			}
		})
	}
}

// The scaling's formula, compiled and computed as KEDA does.
func TestScaling(t *testing.T) {
	t.Parallel()
	scaled := manifests(t, "--values", everything)["ScaledObject"].(*keda.ScaledObject)
	formula, err := keda.ValidateAndCompileScalingModifiers(scaled)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ backlog, headroom, wanted, alive, want float64 }{
		"nothing to do":                       {0, 1, 1, 3, 0},
		"a few events":                        {200, 0.9, 1, 1, 1},
		"a backlog, and room in the quota":    {100_000, 0.6, 4, 2, 4},
		"a backlog at the quota's limit":      {100_000, 0.01, 4, 2, 2},
		"too many workers for the quota":      {100_000, 0.01, 2, 5, 2},
		"a small backlog is one worker's":     {900, 0.9, 5, 1, 1},
		"a backlog that three can share well": {2_500, 0.9, 5, 1, 3},
	} {
		got, err := expr.Run(formula, map[string]float64{"backlog": c.backlog, "headroom": c.headroom,
			"wanted": c.wanted, "alive": c.alive})
		if err != nil || got != c.want {
			t.Errorf("%s: %v workers (%v), want %v", name, got, err, c.want)
		}
	}
}
