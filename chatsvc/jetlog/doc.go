// Package jetlog is a [chatsvc.Log] on NATS JetStream, the same for one machine
// and for many:
//
//	log, err := jetlog.Open(ctx, "simplechat-data", 0, jetlog.Options{Retention: r})
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log), chatsvc.WithRetention(r))
//
// [Open] runs a NATS server in this process, which listens nowhere and keeps its
// files in a directory that no other process can use. [Connect] uses a stream of
// an existing NATS cluster, which any number of processes may share.
//
// # Order and offsets
//
// A record's offset is its sequence in the stream. All who follow the stream see
// the same ones, in whatever process. The epoch is kept in the stream's metadata.
// Where a stream is created anew, or turns out to have less or something else
// than was seen of it, it gets another epoch: Follow fails, and so does [Log.Append]
// until [Log.State] has told the new one; a [chatsvc.Service] ends its streams and
// goes on with it.
//
// # Durability
//
// An acknowledged record of a directory is on the disk, unless [Open] was given
// an interval; appends that come together share a sync. Nobody sees a record of a
// directory before it is stored like that. The NATS server in this process does
// not sync: it would do so for each record. The log does, and knows what else
// must be on the disk then.
//
// One of a cluster is stored by most of its replicas; whether they write it to
// their disks first is their setting sync_interval, which Connect logs if it may
// see it.
//
// The stream keeps what fits in the retention, and somewhat more. Keys are known
// for [chatsvc.KeyWindow], also after a restart and where the record is retained
// no longer. In a cluster each process notes those that it sees: what is repeated
// through one that has started since is stored again if the NATS server that
// leads the stream has started since too, and the record is retained no longer.
//
// # Failures
//
// While nothing can be stored, [Log.Append] fails at once and [Log.Err] says
// why: the disk is full, or NATS is away. Follow waits. The log goes on by itself
// when it can, without a gap or a duplicate. A record that is missing in the
// stream shows as a gap in the offsets, never as another record.
package jetlog
