package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const (
	// stdHTTP2Variable is that of the flag --std-http2.
	stdHTTP2Variable = "SIMPLECHAT_STD_HTTP2"
	// testStdHTTP2 makes a run of the tests give that flag to each server.
	testStdHTTP2 = "TEST_STD_HTTP2"
)

// serverTests are the tests of what a client of the server sees. One row of them is
// for package h2 alone: see TestCurlSpeaksGRPC. The tests that compare its bounds with
// net/http's are in that package.
var serverTests = []string{
	"TestWhoServesHTTP2", "TestConnectGo", "TestGRPCGo", "TestLargestMessagesReachDefaultClient",
	"TestCurlSends", "TestCurlReadsErrors", "TestCurlWatchesLines", "TestCurlWatchesEnvelopes", "TestCurlSpeaksGRPC",
	"TestCurlPlainForms", "TestCurlFailsWhenTheServerEndsAStream", "TestOtherSites", "TestManyMessagesAreLimited", "TestBufCurl",
	"TestPage", "TestHealth", "TestHealthWatch", "TestReflection", "TestTLS", "TestCORS", "TestLargeHeaderIsRefused",
	"TestMaxContent", "TestHeartbeat", "TestWriteDeadlineCutsStuckClient", "TestMaxStreams",
	"TestNoCredentialInLog", "TestSignalEndsServer", "TestStuckClientsDoNotKeepServer",
}

// The server's clients see no difference when net/http serves HTTP/2.
func TestStdHTTP2(t *testing.T) {
	t.Parallel()
	if os.Getenv(testStdHTTP2) != "" {
		return // this is that run
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^("+strings.Join(serverTests, "|")+")$")
	cmd.Env = append(os.Environ(), testStdHTTP2+"=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range serverTests {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}

// The flag chooses who serves.
func TestStdHTTP2IsServed(t *testing.T) {
	t.Parallel()
	for _, std := range []bool{false, true} {
		if got := isStdHTTP2(t, startServer(t, "--std-http2="+strconv.FormatBool(std))); got != std {
			t.Errorf("--std-http2=%t: net/http serves: %t", std, got)
		}
	}
}

// The servers of TestStdHTTP2's run are net/http's, and those of all other tests are not.
func TestWhoServesHTTP2(t *testing.T) {
	t.Parallel()
	if got, want := isStdHTTP2(t, startServer(t)), os.Getenv(testStdHTTP2) != ""; got != want {
		t.Errorf("net/http serves: %t, want %t", got, want)
	}
}

// isStdHTTP2 reports whether net/http serves HTTP/2: only it names a frame size in its
// settings.
func isStdHTTP2(tb testing.TB, p *process) bool {
	tb.Helper()
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	framer := http2.NewFramer(nc, nc)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		tb.Fatal(err)
	}
	_ = framer.WriteSettings()
	frame, err := framer.ReadFrame()
	if err != nil {
		tb.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		tb.Fatalf("the server begins with %v", frame)
	}
	_, named := settings.Value(http2.SettingMaxFrameSize)
	return named
}
