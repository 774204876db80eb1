package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"testing"
)

// holdings are the resources that a server's process uses at a moment.
type holdings struct {
	Memory      int64 `json:"memory"` // bytes of the heap after a collection, and of stacks
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"` // 0 where the system does not tell
}

// measuredServer is the server in a process of its own that tells what it holds.
type measuredServer struct {
	*process

	ask    io.Writer
	answer *json.Decoder
}

// Questions to a measured server.
const (
	askHoldings = "holdings"
	askStacks   = "stacks" // logs all goroutines
)

var _ = addProgram("measured server", runMeasuredServer)

// runMeasuredServer is the program: it serves as its arguments say until its
// standard input ends, and answers each question there.
func runMeasuredServer() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	code := make(chan int, 1)
	go func() { code <- run(ctx, os.Args[1:], io.Discard, os.Stderr) }()
	answers := json.NewEncoder(os.Stdout)
	for questions := bufio.NewScanner(os.Stdin); questions.Scan(); {
		if questions.Text() == askStacks {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
		if err := answers.Encode(measureHoldings()); err != nil {
			return err
		}
	}
	stop()
	if <-code != 0 {
		return errors.New("the server failed")
	}
	return nil
}

func measureHoldings() holdings {
	runtime.GC()
	runtime.GC() // pools keep what they have for one more
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	files, _ := os.ReadDir("/proc/self/fd")
	return holdings{int64(memory.HeapAlloc + memory.StackInuse), runtime.NumGoroutine(), len(files)}
}

// startMeasured starts one, and returns when it listens.
func startMeasured(tb testing.TB, args ...string) *measuredServer {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = tb.TempDir()
	cmd.Env = append(os.Environ(), otherProgram+"=measured server")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	s := &measuredServer{startProcess(tb, cmd, cmd.Start), stdin, json.NewDecoder(stdout)}
	s.awaitListening()
	return s
}

// holdings asks the server for its resources in use. One goroutine at a time may ask.
func (s *measuredServer) holdings(question string) holdings {
	s.tb.Helper()
	var h holdings
	if _, err := io.WriteString(s.ask, question+"\n"); err != nil {
		s.tb.Fatalf("the server's process: %v", err)
	}
	if err := s.answer.Decode(&h); err != nil {
		s.tb.Fatalf("the server's process: %v", err)
	}
	return h
}
