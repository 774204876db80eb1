package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

const (
	envPrefix  = "SIMPLECHAT_"
	fileSuffix = "_FILE"
	// maxSecretFile bounds the value that is read from a file, in bytes.
	maxSecretFile = 64 << 10
)

// readFileVariables sets SIMPLECHAT_X to the content of the file that SIMPLECHAT_X_FILE
// names. Docker and Kubernetes pass secrets in this way, for example URLs of NATS
// servers with a password.
func readFileVariables() error {
	for _, variable := range os.Environ() {
		name, path, _ := strings.Cut(variable, "=")
		target, ok := strings.CutSuffix(name, fileSuffix)
		if !ok || path == "" || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		if os.Getenv(target) != "" {
			return fmt.Errorf("%s and %s are both set: give one of them", target, name)
		}
		text, err := readSecret(path)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.Setenv(target, text); err != nil {
			return fmt.Errorf("%s: %s: %w", name, path, err)
		}
	}
	return nil
}

func readSecret(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecretFile {
		return "", fmt.Errorf("%s: it has more than %d bytes: name a file that contains only the value", path, maxSecretFile)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// printConfig prints each flag of the command with its value and the origin of the value.
func printConfig(w io.Writer, ctx *kong.Context) error {
	given := make(map[*kong.Flag]bool)
	for _, step := range ctx.Path {
		if step.Flag != nil {
			given[step.Flag] = true
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == "print-config" {
			continue
		}
		fmt.Fprintf(table, "--%s\t%s\t%s\n", flag.Name, formatValue(flag.Target), sourceOf(flag, given[flag]))
	}
	return table.Flush()
}

// sourceOf returns the origin of a flag's value.
func sourceOf(flag *kong.Flag, given bool) string {
	if given {
		return "flag"
	}
	for _, name := range flag.Envs {
		if path := os.Getenv(name + fileSuffix); path != "" {
			return "file " + path + " of $" + name + fileSuffix
		}
		if os.Getenv(name) != "" {
			return "$" + name
		}
	}
	return "default"
}

// formatValue returns a flag's value without the passwords in URLs.
func formatValue(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		return formatValue(v.Elem())
	}
	if _, isText := reflect.TypeAssert[fmt.Stringer](v); v.Kind() == reflect.Slice && !isText {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = formatValue(v.Index(i))
		}
		if len(parts) == 0 {
			return "-"
		}
		return strings.Join(parts, ",")
	}
	text := fmt.Sprint(v.Interface())
	if text == "" {
		return "-"
	}
	return maskURL(text)
}

// maskURL hides the password in a URL, and a user without a password, which is a token to
// NATS.
func maskURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@") && (err != nil || u.User == nil):
		return "xxxxx" // it may be a malformed URL
	case err != nil || u.User == nil:
		return text
	}
	if _, ok := u.User.Password(); !ok {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// errChecks means that a check has failed. Its reason was printed.
var errChecks = errors.New("a check has failed: see above")
