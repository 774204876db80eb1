// Package jetlog is a [chatsvc.Log] on NATS JetStream, the same for one machine
// and for many:
//
//	log, err := jetlog.Open(ctx, "simplechat-data", jetlog.Options{})    // a NATS server in this process
//	log, err := jetlog.Connect(ctx, jetlog.Cluster{URLs: …}, jetlog.Options{}) // an existing NATS cluster
//	if err != nil { … }
//	defer log.Close()
//	svc, err := chatsvc.New(chatsvc.WithLog(log))
package jetlog
