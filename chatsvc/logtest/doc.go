// Package logtest tests implementations of [chatsvc.Log], and services that use them.
package logtest
