package cli

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// The answers that leave the completion to the shell.
const (
	completeFiles       = ":files\n"
	completeDirectories = ":directories\n"
)

// complete returns the completions of the last of words, as [CompleteCmd] prints them.
func complete(root *kong.Node, words []string) string {
	if len(words) == 0 {
		words = []string{""}
	}
	c := &completer{node: root, flags: root.Flags}
	for _, word := range words[:len(words)-1] {
		c.take(word)
	}
	return c.answer(words[len(words)-1])
}

// completer walks along a command line.
type completer struct {
	node      *kong.Node   // the command so far
	flags     []*kong.Flag // that may come
	value     *kong.Value  // whose value comes next, nil: none
	isLiteral bool         // there was a --: no more flags
}

// take takes a complete word.
func (c *completer) take(word string) {
	switch {
	case c.value != nil && word == "=": // bash makes a word of it
	case c.value != nil:
		c.value = nil
	case c.isLiteral:
	case word == "--":
		c.isLiteral = true
	case strings.HasPrefix(word, "-"):
		if flag := c.flag(word); flag != nil && !flag.IsBool() && !flag.IsCounter() {
			c.value = flag.Value
		}
	default:
		c.descend(word)
	}
}

// flag returns the flag that a word is, or nil. With a value in the same word, none comes.
func (c *completer) flag(word string) *kong.Flag {
	for _, flag := range c.flags {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

// descend makes the command below with a name the current one.
func (c *completer) descend(name string) {
	for _, child := range c.node.Children {
		if child.Name == name {
			c.node, c.flags = child, slices.Concat(c.flags, child.Flags)
			return
		}
	}
}

// answer returns the completions of a word.
func (c *completer) answer(word string) string {
	name, value, hasValue := strings.Cut(word, "=")
	switch {
	case c.value != nil:
		return valuesOf(c.value, "", strings.TrimPrefix(word, "="))
	case !c.isLiteral && hasValue && c.flag(name) != nil:
		return valuesOf(c.flag(name).Value, name+"=", value)
	case !c.isLiteral && strings.HasPrefix(word, "-"):
		return c.flagsWith(word)
	case len(c.node.Children) > 0:
		return c.commandsWith(word)
	case len(c.node.Positional) > 0:
		return valuesOf(c.node.Positional[0], "", word)
	}
	return ""
}

// flagsWith returns the flags that begin with a word.
func (c *completer) flagsWith(word string) string {
	var b strings.Builder
	for _, flag := range c.flags {
		if flag.Hidden {
			continue
		}
		names := []string{"--" + flag.Name}
		if flag.Tag.Negatable != "" {
			names = append(names, "--no-"+flag.Name)
		}
		for _, name := range names {
			if strings.HasPrefix(name, word) {
				b.WriteString(name + "\t" + firstSentence(flag.Help) + "\n")
			}
		}
	}
	return b.String()
}

// commandsWith returns the commands that begin with a word.
func (c *completer) commandsWith(word string) string {
	var b strings.Builder
	for _, child := range c.node.Children {
		if !child.Hidden && strings.HasPrefix(child.Name, word) {
			b.WriteString(child.Name + "\t" + firstSentence(child.Help) + "\n")
		}
	}
	return b.String()
}

// valuesOf returns the values of a flag or argument that begin with a word, each behind
// a prefix.
func valuesOf(v *kong.Value, prefix, word string) string {
	placeholder := v.Tag.PlaceHolder
	switch {
	case v.Enum != "":
	case strings.Contains(placeholder, "DIR"):
		return completeDirectories
	case strings.Contains(placeholder, "FILE"), v.Tag.Type == "path", v.Tag.Type == "existingfile":
		return completeFiles
	}
	var b strings.Builder
	for _, value := range v.EnumSlice() {
		if value != "" && strings.HasPrefix(value, word) {
			b.WriteString(prefix + value + "\t\n")
		}
	}
	return b.String()
}

// firstSentence returns as much of a help text as fits beside a completion.
func firstSentence(help string) string {
	sentence, _, _ := strings.Cut(help, ". ")
	sentence, _, _ = strings.Cut(sentence, ": ")
	sentence, _, _ = strings.Cut(sentence, "; ")
	return strings.TrimSuffix(sentence, ".")
}
