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
// form, argon2id as [Hash] makes it, or bcrypt as htpasswd -B does. A password
// that is no hash is refused. Beside the file, FILE.tokens has the hashes of
// tokens for programs. Both files are written as a whole, by a rename, with mode
// 0600; [Edit] changes them, and keeps other editors out through FILE.lock.
//
// # Names
//
// Names are compared in Unicode's normalization form C, so a name matches
// however a keyboard composes it. Two names that differ only in invisible
// characters are refused. Passwords are hashed in the same form; bcrypt hashes,
// which other programs have made, are compared with the bytes as they came.
//
// # Calls
//
// Qt's client sends the password with every call. A password that was right is
// remembered as a keyed digest for as long as the user's hash stays the same:
// further calls cost microseconds. Each user has one such digest, which bounds
// the memory. Hashes run on half of the CPUs; calls with the same credentials
// share one, a bounded number wait, and beyond it calls get resource_exhausted.
//
// # Changes
//
// [Authenticator.Reload] reads both files again, and [Authenticator.Watch] does
// so when they change. If one of them is broken, the users stay as they were.
// Streams of users and tokens that are gone, or whose password was changed, end
// with unauthenticated: see [chatsvc.User.Revoked].
package userfile
