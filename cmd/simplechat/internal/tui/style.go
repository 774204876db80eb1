package tui

import (
	"hash/fnv"

	"charm.land/lipgloss/v2"
)

// The colours are those that the user has chosen for the terminal, so that they are
// readable on its background. Nothing is told by colour alone.
var (
	plain     = lipgloss.NewStyle()
	bold      = plain.Bold(true)
	dim       = plain.Foreground(lipgloss.BrightBlack)
	ownText   = plain.Foreground(lipgloss.Cyan)
	ownName   = bold.Foreground(lipgloss.Cyan)
	good      = plain.Foreground(lipgloss.Green)
	warning   = plain.Foreground(lipgloss.Yellow)
	failure   = plain.Foreground(lipgloss.Red)
	unread    = bold.Foreground(lipgloss.Red)
	heading   = bold.Foreground(lipgloss.Blue)
	otherName = []lipgloss.Style{
		bold.Foreground(lipgloss.Green),
		bold.Foreground(lipgloss.Magenta),
		bold.Foreground(lipgloss.Yellow),
		bold.Foreground(lipgloss.Blue),
		bold.Foreground(lipgloss.BrightRed),
		bold.Foreground(lipgloss.BrightMagenta),
	}
)

// nameStyle returns the style of a user's name, always the same one.
func nameStyle(name string) lipgloss.Style {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name))
	return otherName[int(sum.Sum32())%len(otherName)]
}
