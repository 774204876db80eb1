// Package chattest has what the tests of more than one package need: a context with a
// bound, a buffer for logs, free ports, and a subscriber that reads message by message.
// Only tests import it.
package chattest
