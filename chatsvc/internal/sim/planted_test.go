package sim

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var allPlanted = flag.Bool("planted", false, "find all planted faults, not only those that are found soon")

// plantedSeeds is the number of seeds within which each planted fault must be found.
const plantedSeeds = 1000

// foundSoon are the planted faults that every run of the tests looks for.
var foundSoon = []string{"until-off-by-one", "cold-meets-hot"}

// TestPlanted builds this package's tests with a fault of testdata/planted in the code, and
// requires that TestSeeds fails. The tree is not touched.
func TestPlanted(t *testing.T) {
	for _, patch := range patches(t) {
		name := patchName(patch)
		if !*allPlanted && !slices.Contains(foundSoon, name) {
			continue
		}
		t.Run(name, func(t *testing.T) { findPlanted(t, patch) })
	}
}

// Every patch fits the code as it is now, also those that most runs of the tests do not
// look for.
func TestPlantedFit(t *testing.T) {
	for _, patch := range patches(t) {
		t.Run(patchName(patch), func(t *testing.T) { overlay(t, patch) })
	}
}

// patches returns the names of the files with planted faults.
func patches(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/planted/*.patch")
	if err != nil || len(names) == 0 {
		t.Fatalf("no patches: %v", err)
	}
	return names
}

func patchName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".patch") }

var foundAfter = regexp.MustCompile(`seed \d+, (\d+) of \d+\n\s*(.*)`)

// findPlanted fails if the fault of a patch is not found.
func findPlanted(t *testing.T, patch string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "sim.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "-overlay", overlay(t, patch), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := exec.CommandContext(ctx, binary, "-test.run", "^TestSeeds$", "-seeds", fmt.Sprint(plantedSeeds), "-noshrink")
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("%d seeds do not find it", plantedSeeds)
	}
	found := foundAfter.FindSubmatch(out)
	if found == nil {
		t.Fatalf("the tests fail in another way: %v\n%.2000s", err, out)
	}
	t.Logf("found after %s seeds: %s", found[1], found[2])
}

// overlay returns the name of a file that makes the go command use the patched files.
func overlay(t *testing.T, patch string) string {
	t.Helper()
	text, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	replace := make(map[string]string)
	for _, part := range strings.Split("\n"+string(text), "\n+++ b/")[1:] {
		name, hunks, _ := strings.Cut(part, "\n")
		hunks, _, _ = strings.Cut(hunks, "\ndiff ")
		hunks, _, _ = strings.Cut(hunks, "\n--- a/")
		path := filepath.Join(root, filepath.FromSlash(name))
		code, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		patched := string(code)
		for _, hunk := range strings.Split("\n"+hunks, "\n@@ ")[1:] {
			_, lines, _ := strings.Cut(hunk, "\n")
			patched = applyHunk(t, patched, lines)
		}
		replace[path] = filepath.Join(t.TempDir(), filepath.Base(path))
		write(t, replace[path], []byte(patched))
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	text, err = json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, text)
	return file
}

// applyHunk changes code as the lines of a unified diff's hunk say. It finds the place by the
// lines alone.
func applyHunk(t *testing.T, code, lines string) string {
	t.Helper()
	var before, after strings.Builder
	for line := range strings.Lines(strings.TrimRight(lines, "\n") + "\n") {
		switch line[0] {
		case '-':
			before.WriteString(line[1:])
		case '+':
			after.WriteString(line[1:])
		case ' ':
			before.WriteString(line[1:])
			after.WriteString(line[1:])
		case '\n':
			before.WriteString(line)
			after.WriteString(line)
		}
	}
	if strings.Count(code, before.String()) != 1 {
		t.Fatalf("the code has changed: make the patch again for\n%s", before.String())
	}
	return strings.Replace(code, before.String(), after.String(), 1)
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
