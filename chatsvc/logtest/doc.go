// Package logtest tests implementations of [chatsvc.Log], and what a service
// makes of them.
package logtest
