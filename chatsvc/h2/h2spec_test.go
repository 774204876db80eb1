package h2_test

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// h2specVariable names an h2spec to use instead of building one.
const h2specVariable = "SIMPLECHAT_H2SPEC"

// knownFailures are the cases of h2spec that this package fails, and why.
var knownFailures = map[string]string{
	"http2/3.5/2": "what does not begin with the preface is an HTTP/1.1 request, and gets HTTP/1.1's answer before the connection ends",
}

// h2spec's cases pass, over h2c and TLS, but for those that are known.
func TestH2Spec(t *testing.T) {
	t.Parallel()
	h2spec := os.Getenv(h2specVariable)
	if h2spec == "" {
		h2spec = filepath.Join(t.TempDir(), "h2spec")
		build := exec.Command("go", "build", "-modfile=.ci/tools.mod", "-o", h2spec, "github.com/summerwind/h2spec/cmd/h2spec")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build h2spec: %v\n%s", err, out)
		}
	}
	for _, face := range faces {
		if !face.http2 {
			continue
		}
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			s := face.start(t, &http.Server{Handler: http.HandlerFunc(describe)})
			runH2Spec(t, h2spec, s)
		})
	}
}

func runH2Spec(t *testing.T, h2spec string, s *server) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "h2spec.xml")
	args := []string{"--strict", "--timeout", "10", "--host", host, "--port", port, "--junit-report", report}
	if s.tls != nil {
		args = append(args, "--tls", "--insecure")
	}
	// Its status tells of failures, which the report tells better.
	out, _ := exec.Command(h2spec, args...).CombinedOutput()
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	cases, failed := 0, []string(nil)
	for _, suite := range suites.Suites {
		for i, c := range suite.Cases {
			cases++
			name := fmt.Sprintf("%s/%d", c.Package, i+1)
			if c.Skipped != nil {
				t.Errorf("%s (%s) was skipped", name, c.Name)
			}
			if c.Failure == nil && c.Error == nil {
				continue
			}
			failed = append(failed, name)
			if knownFailures[name] == "" {
				t.Errorf("%s fails: %s", name, c.Name)
			}
		}
	}
	if cases < 140 {
		t.Errorf("%d cases\n%s", cases, out)
	}
	for name := range knownFailures {
		if s.tls == nil && !slices.Contains(failed, name) {
			t.Errorf("%s does not fail any more", name)
		}
	}
}
