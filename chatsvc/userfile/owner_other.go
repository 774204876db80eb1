//go:build !unix

package userfile

import "os"

// keepOwner does nothing: files inherit their access from the directory.
func keepOwner(*os.File, string) {}

// syncDirectory does nothing: directories cannot be synced.
func syncDirectory(string) {}
