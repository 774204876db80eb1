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

// stdHTTP2Variable is that of the flag --std-http2.
const stdHTTP2Variable = "SIMPLECHAT_STD_HTTP2"

// serverTests are the tests of what a client of the server sees. There is no row
// among them that only package h2 satisfies; those that compare its bounds with
// net/http's are in that package.
var serverTests = []string{
	"TestConnectGo", "TestGRPCGo", "TestLargestMessagesReachDefaultClient",
	"TestCurlSends", "TestCurlReadsErrors", "TestCurlWatchesLines", "TestCurlWatchesEnvelopes", "TestCurlSpeaksGRPC",
	"TestCurlPlainForms", "TestCurlFailsWhenTheServerEndsAStream", "TestOtherSites", "TestManyMessagesAreLimited", "TestBufCurl",
	"TestPage", "TestHealth", "TestHealthWatch", "TestReflection", "TestTLS", "TestCORS", "TestLargeHeaderIsRefused",
	"TestMaxContent", "TestHeartbeat", "TestWriteDeadlineCutsStuckClient", "TestMaxStreams",
	"TestNoCredentialInLog", "TestSignalEndsServer", "TestStuckClientsDoNotKeepServer",
}

// The server's clients see no difference when net/http serves HTTP/2.
func TestStdHTTP2(t *testing.T) {
	t.Parallel()
	if os.Getenv(stdHTTP2Variable) != "" {
		return // this is that run
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^("+strings.Join(serverTests, "|")+")$")
	cmd.Env = append(os.Environ(), stdHTTP2Variable+"=true")
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

// The flag chooses who serves: only net/http names a frame size in its settings.
func TestStdHTTP2IsServed(t *testing.T) {
	t.Parallel()
	for _, std := range []bool{false, true} {
		p := startServer(t, "--std-http2="+strconv.FormatBool(std))
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		framer := http2.NewFramer(nc, nc)
		if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		_ = framer.WriteSettings()
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok {
			t.Fatalf("the server begins with %v", frame)
		}
		if _, named := settings.Value(http2.SettingMaxFrameSize); named != std {
			t.Errorf("--std-http2=%t: %v", std, settings)
		}
	}
}
