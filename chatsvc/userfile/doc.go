// Package userfile keeps the users of a chat in a file, with hashed passwords:
//
//	users, err := userfile.Open("users.json", logger)
//	if err != nil { … }
//	go users.Watch(ctx)
//	svc, err := chatsvc.New(chatsvc.WithAuthenticator(users))
//
// # Files
//
// The file is the scheme's Users message as JSON. Each password is a hash in PHC
// form: argon2id from [Hash], or bcrypt from htpasswd -B. A password
// that is not hashed is refused. Beside the file, FILE.tokens has the hashes of
// tokens for programs. Both files have mode 0600 and are replaced as a whole, by a
// rename. [Edit] changes them, and locks FILE.lock to exclude other editors.
//
// # Names
//
// Names are compared in Unicode's normalization form C, so it does not matter how a
// keyboard composes a character. Two names that differ only in invisible
// characters are refused. Passwords are hashed in the same form. A bcrypt hash, which
// another program has made, is compared with the unchanged bytes of the password.
//
// # Calls
//
// Qt's client sends the password with every call. So a password that was right is
// remembered as a keyed digest until the user's hash changes, and further calls cost
// microseconds. Each user has one such digest, which bounds the memory. Hashes are
// computed on half of the CPUs. Calls with the same credentials share one computation. A
// bounded number of calls wait; further ones get resource_exhausted.
//
// # Changes
//
// [Authenticator.Reload] reads both files again, and [Authenticator.Watch] does
// so when they change. If one of them is not valid, the users stay unchanged. The streams
// of users and tokens that were removed, and of users with a new password, end
// with unauthenticated: see [chatsvc.User.Revoked].
package userfile
