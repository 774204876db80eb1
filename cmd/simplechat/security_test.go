package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// harmlessFlags have no part in security.
var harmlessFlags = []string{"acme-directory", "log-format", "nats-replicas", "nats-sync-always", "sync"}

// SECURITY.md names each flag that matters to it, and no other.
func TestSecurityNamesFlags(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(repo + "/chatsvc/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := serveFlags(t)
	for _, flag := range flags {
		if named := strings.Contains(string(page), "`--"+flag+"`") || strings.Contains(string(page), "`--"+flag+" "); named == slices.Contains(harmlessFlags, flag) {
			t.Errorf("--%s: named %t", flag, named)
		}
	}
	named, _ := flagsNamed(string(page))
	for _, flag := range named {
		if !slices.Contains(flags, flag) {
			t.Errorf("--%s is no flag", flag)
		}
	}
}
