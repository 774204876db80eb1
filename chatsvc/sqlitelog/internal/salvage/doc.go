// Package salvage reads the messages of a damaged SQLite database without SQLite.
// It looks at every page of the database file and at every frame of the WAL, one by
// one, and at every byte of each as the possible start of a row. Neither the file's
// header nor the pages above a leaf, a leaf's own head or the checksum of a frame
// need to be intact. A row counts only if the caller proves it by its checksum, so
// nothing is invented.
//
// The format is that of https://www.sqlite.org/fileformat2.html. Any bytes may be read:
// nothing panics, and the allocated memory is bounded by the size of the files.
package salvage
