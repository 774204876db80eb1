// Package jetlog is a [chatsvc.Log] on a stream of a NATS cluster with JetStream,
// which any number of processes share:
//
//	log, err := jetlog.Connect(ctx, jetlog.Cluster{
//		URLs: []string{"nats://n1:4222", "nats://n2:4222", "nats://n3:4222"}, Stream: "simplechat", Replicas: 3, MaxContent: 1 << 20,
//	}, jetlog.Options{Retention: chatsvc.Retention{Bytes: 1 << 30}})
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log))
//
// It starts no NATS server, and waits for a cluster that cannot be reached.
//
// # Order and offsets
//
// A record's offset is its sequence in the stream. All processes see the same ones.
// The epoch is kept in the stream's metadata. If the stream was removed, or has less or
// something else than was seen of it, it gets another epoch: Follow and Read fail, and
// so does [Log.Append] until [Log.State] has returned the new one; a [chatsvc.Service]
// then ends its streams and continues with it.
//
// # Durability
//
// An acknowledged record is stored by most of the stream's replicas. Whether they write
// it to their disks first is their setting sync_interval. Unless it is "always", a power
// cut of most of them can take acknowledged records, and their offsets would be given
// to others. A NATS server has another identity after each start. The stream's metadata
// has those of its replicas: if most of them were restarted since, a new epoch begins.
// That is also so after a harmless restart of all of them, of the only one, or of one
// after the other while no process with a Log ran. [Cluster.SyncAlways] says that nothing is lost in
// these cases, and keeps the epoch. It cannot be noticed if fewer than most of the NATS
// servers can be reached from here: give the URLs of all.
//
// # Retention
//
// The stream stores what [chatsvc.Retention.Stored] says. The first offset that is
// reported follows from the bounds of messages and age. With a bound of bytes it is the
// stream's first one, so up to 1/16 more than the bound is retained; JetStream counts
// about 100 bytes for each record beyond its size.
//
// Keys are known for [chatsvc.KeyWindow], also after a restart and where the record is
// retained no longer. Each process notes those that it sees: a message that is repeated
// through one that has started since is stored again if the NATS server that
// leads the stream has started since too, and the record is retained no longer.
//
// # Failures
//
// While nothing can be stored, [Log.Append] fails at once and [Log.Err] says why.
// Follow waits, and continues without a gap or a duplicate. An offset without
// a record, as after a deletion, is a record that cannot be read, and hides nothing
// around it; a replica that lacks records is not believed before the leader was asked.
// A gap of more than 65,536 offsets begins a new epoch.
//
// A leader that dies or hangs is replaced after 4 to 9 seconds, a fixed time limit of NATS
// servers. Until then sends get unavailable.
package jetlog
