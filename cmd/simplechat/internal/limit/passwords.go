package limit

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/userfile"
)

const (
	// wrongDelay is how long the answer to a wrong password waits once half of the
	// attempts are used.
	wrongDelay = time.Second
	// maxDelayed bounds how many answers wait at a time: beyond it they are refused.
	maxDelayed = 1000
	// maxKnown bounds how many users at addresses are remembered.
	maxKnown = 1 << 16
)

// passwords is what is known of logins.
type passwords struct {
	wrong   *rates // by network
	user    *rates // by user, at any network
	delayed chan struct{}

	mu    sync.Mutex // guards all below
	known map[login]struct{}
	// underway is the attempts that are not counted yet, by network.
	underway map[string]*attempts
}

// attempts is what one network tries at a time.
type attempts struct {
	count   int           // that may yet turn out to be wrong
	waiting int           // until others are known to be right or wrong
	ended   chan struct{} // tells one that waits to look again
}

// login is a user at a network where its password was right before.
type login struct{ user, network string }

func newPasswords(perMinute int) *passwords {
	return &passwords{
		wrong:   newRates(float64(perMinute)/60, perMinute),
		user:    newRates(float64(perMinute)/60, perMinute),
		delayed: make(chan struct{}, maxDelayed),
		known:   make(map[login]struct{}),

		underway: make(map[string]*attempts),
	}
}

// Authenticator bounds the wrong passwords that an address can try against a. A user is
// never locked out at an address where it logged in before. Elsewhere its logins are
// delayed, right or wrong, while somebody tries its password. Names that do not exist
// are treated as those that do. Bearer tokens are not bounded: nobody can guess them, and
// they cost no more than a look into a map.
func (l *Limits) Authenticator(a chatsvc.Authenticator) chatsvc.Authenticator {
	return chatsvc.AuthenticatorFunc(func(ctx context.Context, header http.Header) (chatsvc.User, error) {
		address := addressOf(ctx)
		name, _, err := chatsvc.Credentials(header)
		if err != nil || l.isExempt(address) || l.config.WrongPasswords <= 0 {
			return a.Authenticate(ctx, header)
		}
		name = userfile.NormalizeName(name) // or each way to compose it would have attempts of its own
		p, who := l.passwords, login{name, network(address)}
		if p.isKnown(who) {
			// Its own mistakes count here, not against those who share the address.
			who.network = "known " + who.user + " " + who.network
		}
		user, err := l.try(ctx, a, header, who.network, login{name, network(address)})
		if errors.Is(err, chatsvc.ErrUnauthenticated) {
			p.user.take(name)
			l.note("failed logins", address, "")
			if p.wrong.left(who.network) < float64(p.wrong.burst)/2 {
				if late := p.delay(ctx); late != nil {
					return user, late
				}
			}
		}
		return user, err
	})
}

// try authenticates who, as one of the attempts of a network.
func (l *Limits) try(ctx context.Context, a chatsvc.Authenticator, header http.Header, from string, who login) (user chatsvc.User, err error) {
	p, address := l.passwords, addressOf(ctx)
	ok, err := p.begin(ctx, from)
	if err != nil {
		return chatsvc.User{}, err
	}
	if !ok {
		l.note("wrong passwords", address, "")
		return chatsvc.User{}, refusal(time.Minute, "there were too many wrong passwords from this address: try again later")
	}
	defer func() { p.end(from, errors.Is(err, chatsvc.ErrUnauthenticated)) }()
	if !p.isKnown(who) && p.user.left(who.user) < float64(p.user.burst)/2 {
		if err := p.delay(ctx); err != nil {
			l.note("wrong passwords", address, "")
			return chatsvc.User{}, err
		}
	}
	user, err = a.Authenticate(ctx, header)
	if err == nil {
		p.remember(who)
	}
	return user, err
}

// begin counts an attempt of a network until its end. It returns false if the network
// has none left. While those under way could use up all that are left, it waits: right
// passwords are never refused for being many at a time.
func (p *passwords) begin(ctx context.Context, from string) (ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.underway[from]
	if t == nil {
		t = &attempts{ended: make(chan struct{}, 1)}
		p.underway[from] = t
	}
	defer p.settle(from, t)
	for {
		left := p.wrong.left(from)
		if left < 1 {
			return false, nil
		}
		if left-float64(t.count) >= 1 {
			t.count++
			return true, nil
		}
		t.waiting++
		p.mu.Unlock()
		select {
		case <-t.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		t.waiting--
		if err != nil {
			return false, err
		}
	}
}

// end ends what begin began, and counts it if it was wrong.
func (p *passwords) end(from string, wrong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.underway[from]
	if wrong {
		p.wrong.take(from)
	}
	t.count--
	p.settle(from, t)
}

// settle wakes one that waits if it need not any more, and forgets a network that tries
// nothing. The caller holds p.mu.
func (p *passwords) settle(from string, t *attempts) {
	if t.waiting == 0 {
		if t.count == 0 {
			delete(p.underway, from)
		}
		return
	}
	if left := p.wrong.left(from); left < 1 || left-float64(t.count) >= 1 {
		select {
		case t.ended <- struct{}{}:
		default: // one is about to look, and wakes the next
		}
	}
}

// delay waits for wrongDelay, unless too many wait.
func (p *passwords) delay(ctx context.Context) error {
	select {
	case p.delayed <- struct{}{}:
		defer func() { <-p.delayed }()
	default:
		return refusal(wrongDelay, "there were too many wrong passwords: try again later")
	}
	timer := time.NewTimer(wrongDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *passwords) isKnown(l login) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.known[l]
	return ok
}

// remember notes a login. Where there are too many, others are forgotten.
func (p *passwords) remember(l login) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.known[l]; ok {
		return
	}
	for other := range p.known {
		if len(p.known) < maxKnown {
			break
		}
		delete(p.known, other)
	}
	p.known[l] = struct{}{}
}
