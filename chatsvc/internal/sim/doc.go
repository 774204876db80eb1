// Package sim simulates a cluster of chat servers and their clients in one process,
// from one seed. It consists of tests; this file says how to read and to repeat them.
//
// A seed decides a script: how many servers there are, what their log retains, and a list
// of steps such as "client 2 sends 5 messages", "connection 3 is cut after 400 bytes",
// "the log answers the next append late" or "server 1 is killed". The script runs in a
// bubble of [testing/synctest], so that its hours cost milliseconds: real services,
// package h2 or net/http, chatclient and plain streams of each protocol, over a network
// in memory. All servers share a MemoryLog behind a layer that fails; or there is one
// server with sqlitelog, whose process is killed, whose power is cut, and whose files are
// replaced by older ones. A power cut restores the files of the last sync. The wall clock
// of that server's machine jumps. While a script runs and at its end, the messages that
// clients see are compared with the stored ones (verdict_test.go, ending_test.go), and
// package linear looks for one order that explains all of it.
//
//	go test ./chatsvc/internal/sim                             200 seeds
//	go test ./chatsvc/internal/sim -seeds 10000                that many
//	go test ./chatsvc/internal/sim -run TestSeeds -seed 1234   one, with its script
//	go test ./chatsvc/internal/sim -run TestSeeds -v           the counts of the states that were reached
//	go test ./chatsvc/internal/sim -run TestPlanted -planted   faults that must be found
//
// A script that fails is shrunk: steps are left out as long as it still fails. The
// remaining steps are printed as JSON. Stored as a file in testdata/scripts, it runs with
// every test. With SIM_LOG=1 in the environment, the servers' logs are printed, too.
//
// # Limits of a seed
//
// The runtime decides which of the goroutines that can run is next, which case of a
// select is taken if several are ready, and the order of a map. The clients' jitter and
// keys are random as well, and SQLite's system calls take real time. A seed that failed may
// therefore pass the next time: -seed runs it up to a hundred times. To keep the difference
// small the tests run with GOMAXPROCS=1, where goroutines change places only when they wait
// and every 10 ms. The places where another order matters are named in the code (package
// fault), and there the seed decides whether a goroutine yields or waits.
package sim
