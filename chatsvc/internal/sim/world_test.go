package sim

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/internal/fault"
	"example.com/simplechat/chatsvc/linear"
)

// world is one run of a script. The driver, which is the goroutine of the bubble,
// does the steps; all else happens in goroutines that it starts.
type world struct {
	setup   setup
	rng     *rand.Rand // the driver's
	store   *store
	network *network
	users   *users
	servers []*server
	clients []*client
	reached *tally
	history *linear.Recorder // of all sends and reads
	points  *points
	disk    *disk   // nil: the log is in memory
	output  *output // of the services' loggers

	ctx        context.Context //nolint:containedctx // of all that the run begins: it ends with it
	cancel     context.CancelFunc
	background sync.WaitGroup // servers
	watchers   sync.WaitGroup // followers, streams and crowds
	senders    sync.WaitGroup

	followers []*follower
	streams   []*stream
	floods    int
	wentBack  bool         // the log has lost records that were acknowledged
	flooding  atomic.Int32 // floods that run
	crowds    int

	mu       sync.Mutex // guards all below
	sends    []*send
	problems []string
}

// client is a chatclient and the world's state of it.
type client struct {
	*chatclient.Client

	user string
	sent int // for the contents of its messages
}

// result holds the results of a run.
type result struct {
	problems []string
	reached  *tally
	log      string // the end of the services' logs
}

// settle is the time after which all is well again once nothing goes wrong any more: dead
// connections are found by pings, and pauses between attempts are at most 5 s.
const settle = 3 * time.Minute

// prompt returns how long a record may take to all followers while all is well: less than
// the heartbeat, which wakes a subscriber that was forgotten.
func (w *world) prompt() time.Duration { return w.setup.Heartbeat / 2 }

// run runs a script in the bubble that it was called in.
func run(s script) *result {
	w := newWorld(s)
	defer fault.Set(nil)
	if s.Setup.Disk {
		w.disk = newDisk(w, s)
		defer w.disk.remove()
	}
	for range s.Setup.Servers {
		srv := &server{name: fmt.Sprintf("server%d", len(w.servers))}
		w.servers = append(w.servers, srv)
		if err := w.begin(srv); err != nil {
			w.problemf("a server does not begin: %v", err)
		}
	}
	w.newClients()
	for _, step := range s.Steps {
		pass(step.After)
		w.noteCrash()
		w.reached.add("step: " + step.Do)
		kinds[step.Do].do(w, step)
		w.noteCrash()
		w.checkMemory()
	}
	w.finish()
	return &result{w.problems, w.reached, w.output.String()}
}

func newWorld(s script) *world {
	w := &world{
		setup:   s.Setup,
		rng:     rand.New(rand.NewPCG(s.Seed, 2)),
		store:   newStore(chatsvc.Retention(s.Setup.Retention)),
		network: newNetwork(rand.New(rand.NewPCG(s.Seed, 3))),
		reached: newTally(),
		history: linear.NewRecorder(),
		output:  &output{},
	}
	var names []string
	for n := range s.Setup.Clients {
		names = append(names, userName(n))
	}
	w.users = newUsers(names...)
	w.points = newPoints(rand.New(rand.NewPCG(s.Seed, 4)), w.reached)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func userName(n int) string { return fmt.Sprintf("user%d", n) }

// newClients makes the clients, each with the servers in another order.
func (w *world) newClients() {
	for n := range w.setup.Clients {
		urls := ""
		for i := range w.servers {
			if i > 0 {
				urls += ","
			}
			urls += "http://" + w.servers[(n+i)%len(w.servers)].name
		}
		c, err := chatclient.New(urls,
			chatclient.WithBasicAuth(userName(n), "secret"),
			chatclient.WithDialer(w.network.dialer(fmt.Sprintf("10.0.0.%d", n+1))),
			chatclient.WithProtocol([]chatclient.Protocol{chatclient.GRPC, chatclient.GRPCWeb, chatclient.Connect}[n%3]))
		if err != nil {
			w.problemf("a client: %v", err)
			continue
		}
		w.clients = append(w.clients, &client{Client: c, user: userName(n)})
	}
}

// problem notes that an invariant does not hold.
func (w *world) problemf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 20 {
		w.problems = append(w.problems, fmt.Sprintf("%v: ", time.Since(bubbleBegan))+fmt.Sprintf(format, args...))
	}
}

// bubbleBegan is when the clock of each bubble begins.
var bubbleBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// pass lets time of the bubble pass.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
	synctest.Wait()
}

// finish ends all that goes wrong, and checks that all is well then, and that nothing
// is held at the end.
func (w *world) finish() {
	w.heal()
	pass(settle)
	w.await("senders", &w.senders)
	w.checkFollowers("after all was mended", settle)
	w.checkFollowers("while all is well", w.prompt())
	w.checkReadable()
	w.checkSends()
	w.checkHistory()
	w.checkEpochs()
	w.checkShutdown()
	w.cancel()
	w.await("readers", &w.watchers)
	for _, c := range w.clients {
		c.Close()
	}
	w.await("servers", &w.background)
	pass(time.Second)
	if open := len(w.network.open("")); open > 0 {
		w.problemf("%d connections are open at the end", open)
	}
	if w.disk != nil {
		w.disk.close()
		if held := w.disk.held(); len(held) > 0 {
			w.problemf("files are open at the end: %v", held)
		}
	}
}

// await waits for goroutines. If one does not end, the bubble's end reports it.
func (w *world) await(what string, group *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * longestSend):
		w.problemf("%s have not ended", what)
	}
}

// heal ends all faults, and starts all servers.
func (w *world) heal() {
	w.points.calm()
	if w.disk != nil {
		w.disk.disarm()
		w.noteCrash()
	}
	w.network.heal()
	for _, c := range w.clients {
		w.users.restore(c.user)
	}
	for _, s := range w.servers {
		s.log.heal()
		if !s.up {
			if err := w.begin(s); err != nil {
				w.problemf("a server does not begin again: %v", err)
			}
		}
	}
	for _, f := range w.followers {
		f.wake()
	}
	for _, s := range w.streams {
		s.wake()
	}
}

// up returns server n, if it runs.
func (w *world) up(n int) (*server, bool) {
	s := w.servers[n%len(w.servers)]
	return s, s.up
}

// output keeps the end of the text that is written. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

const keptOutput = 64 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 2*keptOutput {
		o.buf.Next(o.buf.Len() - keptOutput)
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
