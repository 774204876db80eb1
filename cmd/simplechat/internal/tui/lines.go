package tui

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// wrap breaks a clean text into lines of at most width cells, between words where it can.
func wrap(s string, width int) []string {
	width = max(width, 2) // a wide character has two
	lines := strings.Split(ansi.Wrap(s, width, ""), "\n")
	for i := 0; i < len(lines); i++ {
		// [ansi.Wrap] leaves some lines a little too long: those that begin with a space.
		if ansi.StringWidth(lines[i]) > width {
			lines = slices.Replace(lines, i, i+1, strings.Split(ansi.Hardwrap(lines[i], width, true), "\n")...)
		}
	}
	return lines
}

func styled(lines []string, style lipgloss.Style) []string {
	for i, line := range lines {
		lines[i] = style.Render(line)
	}
	return lines
}

// rule returns a line across the screen with a title in it.
func rule(title string, width int, style lipgloss.Style) string {
	if title != "" {
		title = " " + title + " "
	}
	title = ansi.Truncate(title, width, "…")
	free := width - ansi.StringWidth(title)
	return style.Render(strings.Repeat("─", free/2) + title + strings.Repeat("─", free-free/2))
}

func center(line string, width int) string {
	return strings.Repeat(" ", max(width-ansi.StringWidth(line), 0)/2) + line
}
