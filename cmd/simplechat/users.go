package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/userfile"
	"example.com/simplechat/cmd/internal/cli"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// usersCmd are the commands for the users' file.
type usersCmd struct {
	Add            usersAddCmd      `cmd:"" help:"Add a user. It creates the file if it is missing."`
	Passwd         usersPasswdCmd   `cmd:"" help:"Change a user's password. Streams opened with the old one end."`
	Remove         usersRemoveCmd   `cmd:"" help:"Remove a user and its tokens. Its streams end."`
	List           usersListCmd     `cmd:"" help:"Print the names of all users."`
	Token          usersTokenCmd    `cmd:"" help:"Make, list and revoke tokens for programs, which work in place of a password."`
	ImportHtpasswd usersHtpasswdCmd `cmd:"" name:"import-htpasswd" help:"Add the users of a file made by htpasswd -B."`
	Hash           usersHashCmd     `cmd:"" help:"Replace plain passwords in the file by their hashes."`
}

// usersFlag names the file for a command.
type usersFlag struct {
	Users string `required:"" type:"path" placeholder:"FILE" help:"User database, as in simplechat serve --users."`
}

// edit changes the file.
func (f *usersFlag) edit(ctx context.Context, change func(*userfile.Editor) error) error {
	return userfile.Edit(ctx, f.Users, change)
}

type usersAddCmd struct {
	usersFlag
	passwordFlag

	Name string `arg:"" help:"The user's name."`
}

// Run adds the user. It checks the name before it asks for the password.
func (c *usersAddCmd) Run(ctx context.Context, out *cli.Output) error {
	add := func(hash string) func(*userfile.Editor) error {
		return func(e *userfile.Editor) error { return e.Add(c.Name, hash) }
	}
	if err := c.edit(ctx, dryRun(add(placeholderHash))); !errors.Is(err, errDryRun) {
		return err
	}
	hash, err := c.hash(ctx, out, c.Name)
	if err != nil {
		return err
	}
	return c.edit(ctx, add(hash))
}

type usersPasswdCmd struct {
	usersFlag
	passwordFlag

	Name string `arg:"" help:"The user's name."`
}

// Run changes the password.
func (c *usersPasswdCmd) Run(ctx context.Context, out *cli.Output) error {
	set := func(hash string) func(*userfile.Editor) error {
		return func(e *userfile.Editor) error { return e.SetHash(c.Name, hash) }
	}
	if err := c.edit(ctx, dryRun(set(placeholderHash))); !errors.Is(err, errDryRun) {
		return err
	}
	hash, err := c.hash(ctx, out, c.Name)
	if err != nil {
		return err
	}
	return c.edit(ctx, set(hash))
}

// placeholderHash is a hash for checks. It is never stored.
const placeholderHash = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// errDryRun makes an edit store nothing.
var errDryRun = errors.New("nothing is stored")

// dryRun returns a change that is checked and not stored.
func dryRun(change func(*userfile.Editor) error) func(*userfile.Editor) error {
	return func(e *userfile.Editor) error {
		if err := change(e); err != nil {
			return err
		}
		return errDryRun
	}
}

type usersRemoveCmd struct {
	usersFlag

	Name string `arg:"" help:"The user's name."`
}

// Run removes the user.
func (c *usersRemoveCmd) Run(ctx context.Context) error {
	return c.edit(ctx, func(e *userfile.Editor) error { return e.Remove(c.Name) })
}

type usersListCmd struct{ usersFlag }

// Run prints the users.
func (c *usersListCmd) Run(out *cli.Output) error {
	users, _, err := userfile.List(c.Users)
	if err != nil {
		return err
	}
	for _, name := range users {
		fmt.Fprintf(out.Stdout, "%s\n", name)
	}
	return nil
}

// usersTokenCmd are the commands for tokens.
type usersTokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a token for a user, and print it. Only its hash is stored."`
	List   tokenListCmd   `cmd:"" help:"Print the user, the label and the date of each token."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a user's token with a label. Streams opened with it end."`
}

// tokenFlags name the token for a command.
type tokenFlags struct {
	usersFlag

	Name  string `arg:"" help:"The user's name."`
	Label string `required:"" placeholder:"LABEL" help:"What the token is for."`
}

type tokenAddCmd struct{ tokenFlags }

// Run makes the token.
func (c *tokenAddCmd) Run(ctx context.Context, out *cli.Output) error {
	var secret string
	err := c.edit(ctx, func(e *userfile.Editor) (err error) {
		secret, err = e.AddToken(c.Name, c.Label)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out.Stdout, "%s\n", secret)
	return nil
}

type tokenListCmd struct{ usersFlag }

// Run prints the tokens.
func (c *tokenListCmd) Run(out *cli.Output) error {
	_, tokens, err := userfile.List(c.Users)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		fmt.Fprintf(out.Stdout, "%s\t%s\t%s\n", t.User, t.Label, t.Created.Format(time.DateOnly))
	}
	return nil
}

type tokenRevokeCmd struct{ tokenFlags }

// Run revokes the token.
func (c *tokenRevokeCmd) Run(ctx context.Context) error {
	return c.edit(ctx, func(e *userfile.Editor) error { return e.RevokeToken(c.Name, c.Label) })
}

type usersHashCmd struct{ usersFlag }

// Run replaces plain passwords.
func (c *usersHashCmd) Run(ctx context.Context, out *cli.Output) error {
	hashed, err := userfile.HashPlain(ctx, c.Users)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.Stdout, "passwords hashed: %d\n", hashed)
	return nil
}

type usersHtpasswdCmd struct {
	usersFlag

	File string `arg:"" type:"path" help:"File to read, with lines of NAME:HASH."`
}

// Run adds all users of the file, or none.
func (c *usersHtpasswdCmd) Run(ctx context.Context, out *cli.Output) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	added := 0
	err = c.edit(ctx, func(e *userfile.Editor) error {
		added, err = addHtpasswd(e, f)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	fmt.Fprintf(out.Stdout, "users added: %d\n", added)
	return nil
}

// addHtpasswd adds the users in a file made by htpasswd.
func addHtpasswd(e *userfile.Editor, r io.Reader) (added int, err error) {
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return 0, fmt.Errorf("line %d has no colon: it must be NAME:HASH", number)
		}
		if !strings.HasPrefix(hash, "$2") {
			return 0, fmt.Errorf("line %d: the hash of %q is not bcrypt: make it with htpasswd -B, or give the user a password with simplechat users add", number, name)
		}
		if err := e.Add(name, hash); err != nil {
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		added++
	}
	return added, lines.Err()
}

// checkPassword returns an error if a password is not valid.
func checkPassword(name, password string) error {
	return chatsvc.ValidateUser(&chatpb.User{Name: name, Password: password})
}
