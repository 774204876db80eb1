// Package jetlog is a [chatsvc.Log] in a JetStream stream of a NATS cluster. Any number
// of processes can share it:
//
//	log, err := jetlog.Connect(ctx, jetlog.Cluster{
//		URLs: []string{"nats://n1:4222", "nats://n2:4222", "nats://n3:4222"}, Stream: "simplechat", Replicas: 3, MaxContent: 1 << 20,
//	}, jetlog.Options{Retention: chatsvc.Retention{Bytes: 1 << 30}})
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log))
//
// It does not start a NATS server. It waits for a cluster that cannot be reached.
//
// # Order and offsets
//
// A record's offset is its sequence in the stream, so all processes see the same offsets.
// The epoch is kept in the stream's metadata. If the stream was removed, or has lost or
// changed records that were seen, it gets another epoch. Then Follow and Read fail, and
// so does [Log.Append] until [Log.State] has returned the new epoch; a [chatsvc.Service]
// ends its streams and continues with the new epoch.
//
// # Durability
//
// An acknowledged record is stored by most of the stream's replicas. Their setting
// sync_interval decides whether they write it to their disks first. Unless it is
// "always", a power cut of most replicas can lose acknowledged records, and other records
// would get their offsets. To detect this, the stream's metadata has the identities of
// its replicas, which a NATS server changes at each start: if most of them were restarted,
// a new epoch begins. This also happens after a harmless restart of all replicas, of a
// single replica without others, or of one after the other while no process with a Log
// ran. [Cluster.SyncAlways] says that nothing is lost in these cases, and keeps the
// epoch. Restarts are noticed only if most of the NATS servers can be reached from here:
// give the URLs of all.
//
// # Retention
//
// The stream stores as much as [chatsvc.Retention.Stored] returns. The bounds of messages
// and age decide which offset is reported as the first. With a bound of bytes, that is
// the first offset of the stream, so up to 1/16 more than the bound is retained.
// JetStream counts about 100 bytes more for each record than its size.
//
// Keys are known for [chatsvc.KeyWindow], also after a restart and after the record is no
// longer retained. There is one exception: each process remembers the keys that it sees,
// so a message is stored twice if the process and the NATS server that leads the
// stream have both started since the first send, and its record is no longer retained.
//
// # Failures
//
// While nothing can be stored, [Log.Append] fails at once and [Log.Err] says why.
// Follow waits, and continues without a gap or a duplicate. An offset without
// a record, for example after a deletion, counts as a record that cannot be read; the
// records around it are delivered. If a replica lacks records, the leader is asked.
// A gap of more than 65,536 offsets begins a new epoch.
//
// NATS servers replace a leader that dies or hangs after 4 to 9 seconds; this time is fixed
// in their code. Until then sends get unavailable.
package jetlog
