package tui

import "charm.land/lipgloss/v2"

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

// nameStyle returns the style of a user's name, always the same one. Names that differ in
// the last character only have different ones.
func nameStyle(name string) lipgloss.Style {
	var sum uint32
	for _, b := range []byte(name) {
		sum = sum*31 + uint32(b)
	}
	return otherName[sum%uint32(len(otherName))]
}
