// Package sendtail has the commands that send messages and print them, for shells and
// scripts: simplechat send and simplechat tail.
package sendtail
