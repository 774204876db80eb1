package userfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// fileMode lets only the owner read the hashes, because a reader could guess passwords.
const fileMode = 0o600

// strictness says which passwords a file may contain.
type strictness int

const (
	onlyValid  strictness = iota // only hashes that can be used
	onlyHashes                   // no plain passwords; a broken hash can be replaced
	anything
)

// readUsers reads the file, and checks it.
func readUsers(path string, strict strictness) ([]*chatpb.User, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, err // its text has the path
	}
	users, err := chatsvc.ParseUsers(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := normalizeNames(users.GetUsers()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, user := range users.GetUsers() {
		err := checkHash(user.GetPassword())
		switch {
		case err == nil || strict == anything:
		case errors.Is(err, errPlain):
			return nil, fmt.Errorf("%s: user %d: the password of %q is not hashed: run simplechat users hash --users %s", path, i+1, user.GetName(), quote(path))
		case strict == onlyValid:
			return nil, fmt.Errorf("%s: user %d: the password of %q %w: run simplechat users passwd --users %s %s", path, i+1, user.GetName(), err, quote(path), quote(user.GetName()))
		}
	}
	return users.GetUsers(), nil
}

// quote quotes a path for a shell.
func quote(path string) string {
	if strings.ContainsAny(path, " \t\"'\\$`&|;<>()*?[]#~!") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// writeUsers replaces the file.
func writeUsers(path string, users []*chatpb.User) error {
	type user struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	file := struct {
		Users []user `json:"users"`
	}{make([]user, 0, len(users))}
	for _, u := range users {
		file.Users = append(file.Users, user{u.GetName(), u.GetPassword()})
	}
	return writeJSON(path, file)
}

// writeJSON replaces the file by v as JSON.
func writeJSON(path string, v any) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return writeFile(path, data.Bytes())
}

// writeFile replaces a file. Readers see either the whole old content or the whole new
// content, also after a power cut. If it fails, the file is unchanged.
func writeFile(path string, data []byte) (err error) {
	// A symbolic link stays, and its target is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	keepOwner(f, path)
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncDirectory(filepath.Dir(path))
	return nil
}
