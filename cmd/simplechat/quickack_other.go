//go:build !linux

package main

import "net"

// quickACK does nothing: only Linux has the delay that it removes.
func quickACK(l net.Listener) net.Listener { return l }
