package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"example.com/simplechat/chatsvc"
)

// drainFlags are the flags for an orderly shutdown behind a load balancer.
type drainFlags struct {
	DrainDelay  time.Duration `default:"0s" placeholder:"DURATION" help:"After SIGTERM, time in which health checks say 'not serving' and all else is as before, so that balancers send clients elsewhere (${default})."`
	DrainSpread time.Duration `default:"0s" placeholder:"DURATION" help:"Then, time over which the ends of streams are spread, so that not all clients come to other servers at once (${default})."`
}

func (f *drainFlags) check() error {
	if f.DrainDelay < 0 || f.DrainSpread < 0 {
		return errors.New("--drain-delay and --drain-spread must not be negative")
	}
	return nil
}

// drain waits as the flags say, after health checks have begun to answer "not
// serving". A second signal ends the process.
func (f *drainFlags) drain(svc *chatsvc.Service, logger *slog.Logger) {
	if f.DrainDelay > 0 {
		logger.Info("not ready: new clients are still served during the delay", "delay", f.DrainDelay)
		time.Sleep(f.DrainDelay)
	}
	if f.DrainSpread > 0 {
		logger.Info("ending streams", "spread", f.DrainSpread)
		_ = svc.Drain(context.Background(), f.DrainSpread) // it fails if its context ends
	}
}
