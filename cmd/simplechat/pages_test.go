//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pageLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor = regexp.MustCompile(`[^a-z0-9 -]`)
)

// Every link of a page to another file leads to a file, and to a heading in it.
func TestPageLinks(t *testing.T) {
	t.Parallel()
	pages := []string{frontPage, protocolPage, operatorsPage}
	for _, name := range []string{
		".github/CONTRIBUTING.md", ".github/SECURITY.md", "chatsvc/DESIGN.md", "chatsvc/SECURITY.md",
		"cmd/chatbench/README.md", "web/README.md",
	} {
		pages = append(pages, filepath.Join(repo, name))
	}
	for _, page := range pages {
		for _, match := range pageLink.FindAllStringSubmatch(readPage(t, page), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link to %s: %v", page, match[1], err)
			} else if anchor != "" && !hasHeading(readPage(t, target), anchor) {
				t.Errorf("%s: no heading for the link to %s", page, match[1])
			}
		}
	}
}

// hasHeading reports whether a page has a heading with an anchor as GitHub makes it.
func hasHeading(page, anchor string) bool {
	for _, match := range pageHeading.FindAllStringSubmatch(page, -1) {
		heading := notInAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		if strings.ReplaceAll(heading, " ", "-") == anchor {
			return true
		}
	}
	return false
}

func TestHasHeading(t *testing.T) {
	t.Parallel()
	const page = "# Title\n\n## Metrics, health, profiles\n"
	if !hasHeading(page, "metrics-health-profiles") || hasHeading(page, "metrics") {
		t.Error("headings are not found by their anchors")
	}
}
