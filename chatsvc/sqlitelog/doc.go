// Package sqlitelog is a [chatsvc.Log] in an SQLite database, for one machine:
//
//	log, err := sqlitelog.Open(ctx, "simplechat-data", sqlitelog.Options{Retention: r})
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log))
//
// The database is the file chat.db in the directory. One process has the directory;
// other programs may read the database while it does. This prints the last ten
// messages:
//
//	sqlite3 simplechat-data/chat.db "SELECT offset, datetime(stored / 1000, 'unixepoch'),
//	  sender, CASE type WHEN 1 THEN content ELSE '[' || length(content) || ' bytes]' END
//	  FROM (SELECT * FROM messages ORDER BY offset DESC LIMIT 10) ORDER BY offset"
//
// # Schema
//
//	messages    one row for each message:
//	  offset      its number
//	  stored      when the log stored it, in Unix milliseconds; never below the row before
//	  timestamp   the sender's time in Unix milliseconds; above 2^63 it is negative
//	  sender      the user's name
//	  type        0 Unknown, 1 Text, 2 Image
//	  total       sum of the sizes of all records up to this one, in bytes
//	  checksum    CRC-64 (ECMA) of the epoch, a zero byte, offset, stored, timestamp,
//	              type, total (8 bytes each), the length of sender (4 bytes, all high
//	              byte first), sender, content, in this order
//	  content     text for type 1, otherwise the bytes
//	keys        idempotency keys of the last two minutes: 16 bytes of their SHA-256
//	epochs      each epoch with the first offset that was stored in it; the last counts
//	redactions  offsets of messages that were replaced by empty ones
//
// The file's application_id is 0x53434854 and its user_version the schema's version.
//
// # Durability
//
// Appends that wait share a transaction and its sync; an acknowledged record is on the
// disk, unless [Options].SyncInterval says otherwise. The data is in chat.db and in
// the write-ahead log chat.db-wal, so a copy needs SQLite's own tools, or simplechat
// log backup. Messages that the retention does not allow are removed in the same
// transactions, a little at a time, and their space goes back to the file system.
//
// After a failed sync nothing is acknowledged until the database was opened again and
// all of it was written to the disk: the system may show what the disk never received.
// Senders are told that the outcome is unknown. While the disk is full they are told
// that the message was not stored.
//
// # Evidence
//
// SQLite drops what stands behind a damaged place of the write-ahead log without an
// error. So the file acknowledged has the epoch, the offset and the checksum of the
// record that was acknowledged last. Where the database has less, or something else,
// the log copies the files aside, gets another epoch and reports an error.
//
// The evidence detects records that are missing at the end after the process ended or
// was killed, a database that was removed, and an older or another one that was put in
// its place. It is written before each acknowledgement and synced within a second: after
// a power cut it may be that much older than the database, and records of that time
// that the disk lost in spite of their sync are not detected. An older copy of the whole
// directory cannot be told from the newest: run simplechat log new-epoch after such a
// restore. Records that are damaged, or missing between others, are found when they are
// read.
//
// # Damage
//
// A row that its checksum does not prove says nothing: neither where the log begins or
// ends, nor how old or large a message is. Where SQLite passes over rows because of one,
// each is looked up by itself. [Open] looks up 64 offsets and tries to store a message:
// if SQLite does not find what is there, or cannot store behind the end, the database
// is repaired as by [Repair] before anybody uses it. A page above the leaves that hides
// fewer messages than those between two of the 64 may stay, until Repair is run.
//
// # Time
//
// Keys and messages age by the system's monotonic clock, which no step of the wall
// clock moves, also across a restart of the process. While the machine is off, time is
// that of the wall clock, never below the last stored.
package sqlitelog
