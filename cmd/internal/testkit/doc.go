// Package testkit has what the tests of the programs need to talk to a server: a server in
// the process, HTTP transports with a user's credentials, and user databases. Only tests
// import it.
package testkit
