//go:build !unix

package sqlitelog

// isReadOnlySystem reports whether err means that the file system is read-only.
func isReadOnlySystem(error) bool { return false }

// isNoSpace reports whether err says that the disk is full.
func isNoSpace(error) bool { return false }

// access returns an error if this process must not write to the directory.
func access(string) error { return nil }
