package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"testing"
)

// checkSVG fails the test unless the file is an SVG that draws something.
func checkSVG(tb testing.TB, file string) {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	elements := make(map[string]int)
	root := ""
	for tokens := xml.NewDecoder(f); ; {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if root == "" {
				root = start.Name.Space + " " + start.Name.Local
			}
			elements[start.Name.Local]++
		}
	}
	if root != "http://www.w3.org/2000/svg svg" || elements["path"] == 0 || elements["text"] == 0 {
		tb.Errorf("%s: root element %q, %d paths, %d texts", file, root, elements["path"], elements["text"])
	}
}
