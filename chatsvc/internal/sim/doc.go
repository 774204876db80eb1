// Package sim simulates a cluster of chat servers and their clients in one process,
// from one seed. It consists of tests; this file says how to read and to repeat them.
//
// A seed decides a script: how many servers there are, what their log retains, and a
// list of steps such as "client 2 sends 5 messages", "connection 3 is cut after 400 bytes",
// "the log answers the next append late" or "server 1 is killed". The script runs
// in a bubble of [testing/synctest], so that its hours cost milliseconds: real services,
// package h2 or net/http, chatclient and plain streams of each protocol, over a network
// in memory and a MemoryLog behind a layer that fails. Meanwhile and at the end
// the run is compared with what was really stored: see the invariants in verdict_test.go.
//
//	go test ./chatsvc/internal/sim                             200 seeds
//	go test ./chatsvc/internal/sim -seeds 10000                that many
//	go test ./chatsvc/internal/sim -run TestSeeds -seed 1234   one, with its script
//	go test ./chatsvc/internal/sim -v                          the counts of what was reached
//
// A script that fails is shrunk: steps are left out as long as it still fails. What is left
// is printed as JSON. Stored as a file in testdata/scripts, it runs with every test.
//
// # What a seed does not decide
//
// The runtime decides which of the goroutines that can run is next, which case of a
// select is taken if several are ready, and the order of a map. The clients' jitter and
// keys are random as well. A seed that failed may therefore pass the next time: the
// command in its report runs it up to a hundred times. To keep the difference small the tests run
// with GOMAXPROCS=1, where goroutines change places only when they wait and every 10 ms; the places where
// another order matters are named in the code (package fault), and there the seed
// decides how long the goroutine yields.
package sim
