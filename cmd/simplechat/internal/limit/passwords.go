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
	// wrongDelay is how long the answer to a wrong password is delayed after half of the
	// attempts.
	wrongDelay = time.Second
	// maxDelayed is the largest number of delayed answers at a time. Further logins are
	// refused.
	maxDelayed = 1000
	// maxKnown is the largest number of remembered logins.
	maxKnown = 1 << 16
	// failedLogins is the name of wrong passwords and tokens in the log.
	failedLogins = "failed logins"
)

// passwords limits wrong passwords.
type passwords struct {
	wrong   *rates // wrong passwords by network
	user    *rates // wrong passwords by user, from all networks
	delayed chan struct{}

	mu    sync.Mutex // guards all below
	known map[login]struct{}
	// underway has the running attempts, which are not counted yet, by network.
	underway map[string]*attempts
}

// attempts are the running attempts of one network.
type attempts struct {
	count   int           // number of attempts whose result is not known
	waiting int           // number of logins that wait for these results
	ended   chan struct{} // makes one waiting login check again
}

// login is a user and a network from which it has logged in before.
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

// Authenticator limits the wrong passwords that an address can try with a. A user is
// never locked out at an address from which it has logged in before. At other addresses
// its logins are delayed, right or wrong, while wrong passwords are tried for it. Names that
// do not exist are treated like existing ones. Bearer tokens are not limited: they cannot be
// guessed, and checking one is only a look-up in a map.
func (l *Limits) Authenticator(a chatsvc.Authenticator) chatsvc.Authenticator {
	return chatsvc.AuthenticatorFunc(func(ctx context.Context, header http.Header) (chatsvc.User, error) {
		address := addressOf(ctx)
		name, _, err := chatsvc.Credentials(header)
		if err != nil || l.isExempt(address) || l.config.WrongPasswords <= 0 {
			user, err := a.Authenticate(ctx, header)
			if errors.Is(err, chatsvc.ErrUnauthenticated) && isLogin(header) {
				l.note(failedLogins, address, "")
			}
			return user, err
		}
		name = userfile.NormalizeName(name) // otherwise each way to compose the name would have its own attempts
		p, who := l.passwords, login{name, network(address)}
		if p.isKnown(who) {
			// The user's own mistakes count here, and not for others at the same address.
			who.network = "known " + who.user + " " + who.network
		}
		user, err := l.try(ctx, a, header, who.network, login{name, network(address)})
		if errors.Is(err, chatsvc.ErrUnauthenticated) {
			p.user.take(name)
			l.note(failedLogins, address, "")
			if p.wrong.left(who.network) < float64(p.wrong.burst)/2 {
				if late := p.delay(ctx); late != nil {
					return user, late
				}
			}
		}
		return user, err
	})
}

// isLogin reports whether a call has credentials of any kind.
func isLogin(h http.Header) bool {
	return h.Get("Authorization") != "" || h.Get(chatsvc.HeaderUserName) != "" || h.Get(chatsvc.HeaderUserPassword) != ""
}

// try authenticates a login as one attempt of a network.
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

// begin starts an attempt of a network. It returns false if the network has no attempts
// left. While the running attempts could use up the remaining ones, it waits, so that many
// right passwords at the same time are never refused.
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

// end ends an attempt, and counts it if the password was wrong.
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

// settle wakes one waiting login if it need no longer wait, and forgets a network without
// attempts. The caller holds p.mu.
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
		default: // one was woken already, and wakes the next
		}
	}
}

// delay waits for wrongDelay. It fails if too many logins wait.
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

// remember notes a login. If there are too many, it forgets others.
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
