// Package sqlitelog is a [chatsvc.Log] in an SQLite database, for one machine:
//
//	log, err := sqlitelog.Open(ctx, "simplechat-data", sqlitelog.Options{Retention: r})
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log))
//
// The database is the file chat.db in the directory. Only one process can use the
// directory, but other programs may read the database at the same time. This prints the
// last ten messages:
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
//	epochs      each epoch with the first offset that was stored in it; the last one is in force
//	redactions  offsets of messages that were replaced by empty ones
//
// The file's application_id is 0x53434854 and its user_version the schema's version.
//
// # Durability
//
// Waiting appends share a transaction and its sync. An acknowledged record is on the
// disk, unless [Options].SyncInterval is set. The data is in chat.db and in
// the write-ahead log chat.db-wal, so a copy needs SQLite's own tools, or simplechat
// log backup. The same transactions remove the messages that exceed the retention, a few
// at a time, and give their space back to the file system.
//
// After a failed sync, the log acknowledges nothing until it has opened the database
// again and has written all of it to the disk: the system's cache may contain data that
// the disk never received. Senders are told that the outcome is unknown. While the disk is
// full, they are told that the message was not stored.
//
// # Evidence
//
// If the write-ahead log is damaged, SQLite drops everything after the damage without an
// error. So the file named acknowledged has the epoch, the offset and the checksum of the
// record that was acknowledged last. If the database lacks that record or has another one,
// the log copies the files aside, gets another epoch and reports an error.
//
// The evidence detects that records at the end are missing after the process has ended or
// was killed, that the database was removed, and that it was replaced by an older or a
// different one. It is written before each acknowledgement and synced within a second.
// After a power cut it may be up to a second older than the database; records from that
// second that the disk lost in spite of their sync are not detected. An older copy of the
// whole directory looks like the newest one: run simplechat log new-epoch after such a
// restore. Records that are damaged, or missing between others, are found when they are
// read.
//
// # Damage
//
// A row whose checksum is wrong is not used for anything: not for the begin or the end of
// the log, and not for the age or the size of a message. If a damaged row makes SQLite
// skip others, each of these is looked up separately. [Open] looks up 64 offsets and tries
// to store a message: if SQLite does not find the rows, or cannot store after the end, the
// database is repaired as by [Repair] before it is used. A damaged inner page that hides
// only messages between two of the 64 offsets is not noticed; Repair finds them.
//
// # Time
//
// Keys and messages age by the system's monotonic clock, also across a restart of the
// process, so setting the wall clock has no effect. While the machine is off, the wall
// clock counts, but time never goes back behind the last stored message.
package sqlitelog
