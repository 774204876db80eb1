package main

import "os"

const heapFloorBytes = 32 << 20

// newHeapFloor returns memory that is never touched, and therefore never resident, but that
// the garbage collector counts. The collector runs when the heap has doubled, which
// happens many times a second in a server with few subscribers. With this memory it runs
// less often, and sends cost a third less (43–48 k/s against 65–76 k/s
// in three alternating runs). It returns nil if the environment configures the
// collector. The caller must keep it alive.
func newHeapFloor() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, heapFloorBytes)
}
