package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// The defaults for the place of messages.
const (
	defaultData     = "simplechat-data"
	defaultStream   = "simplechat"
	defaultReplicas = 3
)

// storageFlags are the flags for the place of messages.
type storageFlags struct {
	natsFlags

	onCommit func(took time.Duration) // called after each transaction in --data

	Data   string   `type:"path" placeholder:"DIR" help:"Directory for messages; it is created if it is missing, and only one process can use it (./simplechat-data)."`
	Memory bool     `help:"Keep messages in memory. They are lost when the server ends."`
	Sync   syncMode `placeholder:"always|DURATION" help:"When messages in --data reach the disk. always: before a send is answered, so an acknowledged message survives a power cut. A duration: at that interval, so a power cut may lose the messages of one interval; a crash of the server loses nothing (always)."`
}

// natsFlags name the stream of a NATS cluster that is the log.
type natsFlags struct {
	NATS           natsURLs `name:"nats" placeholder:"URL" help:"Keep messages in a NATS cluster with JetStream, shared by all servers with the same stream. URLs of the cluster's servers, separated by commas."`
	NATSStream     string   `name:"nats-stream" placeholder:"NAME" help:"Stream of the cluster; it is created if it is missing (simplechat)."`
	NATSReplicas   int      `name:"nats-replicas" placeholder:"N" help:"NATS servers that keep each message, 1, 3 or 5. With 3 an acknowledged message survives the loss of one (3)."`
	NATSSyncAlways bool     `name:"nats-sync-always" help:"All NATS servers run with sync_interval: always, so a restart of them loses no acknowledged message. Without it, a restart of most of the stream's servers together begins a new epoch."`
	NATSCreds      string   `name:"nats-creds" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	NATSTLSCA      string   `name:"nats-tls-ca" type:"path" placeholder:"FILE" help:"Certificates in PEM that sign those of the NATS servers. The default is the system's."`
	NATSTLSCert    string   `name:"nats-tls-cert" type:"path" placeholder:"FILE" help:"Certificate in PEM that this server shows to NATS."`
	NATSTLSKey     string   `name:"nats-tls-key" type:"path" placeholder:"FILE" help:"The key of --nats-tls-cert in PEM."`
}

// syncMode is a flag for the time between writes to the disk.
type syncMode struct {
	set      bool
	interval time.Duration // [sqlitelog.SyncAlways], or a time
}

// String returns the mode as the flag has it.
func (m syncMode) String() string {
	if m.interval == sqlitelog.SyncAlways {
		return "always"
	}
	return m.interval.String()
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *syncMode) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*m = syncMode{true, sqlitelog.SyncAlways}
		return nil
	}
	interval, err := parseDuration(string(text))
	if err != nil || interval < time.Millisecond {
		return fmt.Errorf("%q is neither always nor a duration of at least 1ms, such as 200ms", text)
	}
	*m = syncMode{true, interval}
	return nil
}

// natsURLs are a flag's URLs.
type natsURLs []string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (u *natsURLs) UnmarshalText(text []byte) error {
	for one := range strings.SplitSeq(string(text), ",") {
		if one = strings.TrimSpace(one); one == "" {
			return errors.New("one URL is empty: give nats://HOST:PORT, or several URLs separated by commas")
		}
		*u = append(*u, one)
	}
	return nil
}

// check names flags that contradict each other.
func (f *storageFlags) check() error {
	switch {
	case f.Memory && f.Data != "":
		return errors.New("--memory and --data contradict each other: give one of them")
	case f.Memory && f.Sync.set:
		return errors.New("--sync applies to --data only: --memory writes nothing to a disk")
	case f.Memory && len(f.NATS) > 0:
		return errors.New("--memory and --nats contradict each other: give one of them")
	case len(f.NATS) > 0 && f.Data != "":
		return errors.New("--data and --nats contradict each other: give one of them")
	case len(f.NATS) > 0 && f.Sync.set:
		return errors.New("--sync applies to --data only: NATS servers have their own setting, sync_interval")
	}
	return f.checkNATS()
}

func (f *natsFlags) checkNATS() error {
	if len(f.NATS) == 0 {
		for name, set := range map[string]bool{
			"stream": f.NATSStream != "", "replicas": f.NATSReplicas != 0, "sync-always": f.NATSSyncAlways, "creds": f.NATSCreds != "",
			"tls-ca": f.NATSTLSCA != "", "tls-cert": f.NATSTLSCert != "", "tls-key": f.NATSTLSKey != "",
		} {
			if set {
				return fmt.Errorf("--nats-%s has no effect without --nats: give the URL of a NATS server", name)
			}
		}
		return nil
	}
	switch {
	case !slices.Contains([]int{0, 1, 3, 5}, f.NATSReplicas): // 0: not given
		return fmt.Errorf("--nats-replicas %d: it must be 1, 3 or 5", f.NATSReplicas)
	case strings.ContainsAny(f.NATSStream, " \t\r\n\f.*>/\\"):
		return fmt.Errorf("--nats-stream %q: a name has no spaces, dots, slashes, * or >", f.NATSStream)
	case (f.NATSTLSCert == "") != (f.NATSTLSKey == ""):
		return errors.New("--nats-tls-cert and --nats-tls-key belong together: give both")
	}
	return nil
}

// closeableLog is a log that must be closed.
type closeableLog interface {
	chatsvc.Log
	Close() error
}

// open opens the log that the flags name. The caller must call the returned function,
// which closes the log.
func (f *storageFlags) open(ctx context.Context, retention chatsvc.Retention, maxContent int, logger *slog.Logger) (chatsvc.Log, func(), error) {
	if f.Memory {
		return chatsvc.NewMemoryLog(retention), func() {}, nil
	}
	log, err := f.openDurable(ctx, retention, maxContent, logger)
	if err != nil {
		return nil, nil, err
	}
	return log, func() {
		if err := log.Close(); err != nil {
			logger.Error("close the log", "error", err)
		}
	}, nil
}

func (f *storageFlags) openDurable(ctx context.Context, retention chatsvc.Retention, maxContent int, logger *slog.Logger) (closeableLog, error) {
	if len(f.NATS) > 0 {
		return f.connect(ctx, maxContent, jetlog.Options{Retention: retention, Logger: logger})
	}
	if f.Sync.interval == sqlitelog.SyncAlways {
		addProcessor()
	}
	log, err := sqlitelog.Open(ctx, f.directory(), sqlitelog.Options{
		Retention:    retention,
		SyncInterval: f.Sync.interval,
		OnCommit:     f.onCommit,
		Logger:       logger,
	})
	if err != nil {
		return nil, fmt.Errorf("--data: %w", explainDirectory(err))
	}
	return log, nil
}

// explainDirectory adds to an error of a directory what to do.
func explainDirectory(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: allow this user to write there, give another directory, or keep messages in memory with --memory", err)
	}
	return err
}

// directory returns the directory of the log's files, or the empty string if there is
// none.
func (f *storageFlags) directory() string {
	if f.Memory || len(f.NATS) > 0 {
		return ""
	}
	return cmp.Or(f.Data, defaultData)
}

// addProcessor adds a processor (P) to Go's scheduler, unless the environment sets their
// number. A goroutine that syncs a file occupies one for up to 10 ms, until the scheduler
// takes it away; in that time a core would be idle.
var addProcessor = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
})

// connect opens the log in a NATS cluster.
func (f *natsFlags) connect(ctx context.Context, maxContent int, options jetlog.Options) (*jetlog.Log, error) {
	cluster, err := f.cluster(maxContent)
	if err != nil {
		return nil, err
	}
	log, err := jetlog.Connect(ctx, cluster, options)
	if err != nil {
		return nil, fmt.Errorf("--nats: %w", err)
	}
	if err := awaitState(ctx, log); err != nil {
		return nil, errors.Join(fmt.Errorf("--nats: %w", err), log.Close())
	}
	return log, nil
}

// awaitState waits until the log in a cluster returns its state: a stream that was just
// found may have no leader yet.
func awaitState(ctx context.Context, log *jetlog.Log) error {
	const pause = 200 * time.Millisecond
	for {
		_, err := log.State(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cluster returns the cluster that the flags name.
func (f *natsFlags) cluster(maxContent int) (jetlog.Cluster, error) {
	cluster := jetlog.Cluster{
		URLs:        f.NATS,
		Stream:      cmp.Or(f.NATSStream, defaultStream),
		Replicas:    cmp.Or(f.NATSReplicas, defaultReplicas),
		MaxContent:  maxContent,
		SyncAlways:  f.NATSSyncAlways,
		Credentials: f.NATSCreds,
	}
	if f.NATSCreds != "" { // nats.go would notice an error only when it connects
		if _, err := os.Stat(f.NATSCreds); err != nil {
			return cluster, fmt.Errorf("--nats-creds: %w", err)
		}
	}
	var err error
	cluster.TLS, err = f.natsTLS()
	return cluster, err
}

// natsTLS returns the settings for TLS with NATS, or nil for the system's defaults.
func (f *natsFlags) natsTLS() (*tls.Config, error) {
	if f.NATSTLSCA == "" && f.NATSTLSCert == "" {
		return nil, nil //nolint:nilnil // nothing set is no error
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.NATSTLSCA != "" {
		pem, err := os.ReadFile(f.NATSTLSCA)
		if err != nil {
			return nil, fmt.Errorf("--nats-tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--nats-tls-ca: %s: it contains no certificate in PEM", f.NATSTLSCA)
		}
	}
	if f.NATSTLSCert != "" {
		certificate, err := tls.LoadX509KeyPair(f.NATSTLSCert, f.NATSTLSKey)
		if err != nil {
			return nil, fmt.Errorf("--nats-tls-cert, --nats-tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
