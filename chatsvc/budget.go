package chatsvc

import (
	"context"
	"sync"
)

const (
	// smallBody is the size in bytes up to which a body is not counted, because its call
	// takes more memory.
	smallBody = 4 << 10
	// bodyStep is how many bytes are reserved for a body at a time.
	bodyStep = 64 << 10
	// bodyShare is the percentage of the bound that one user can hold. The rest is for
	// other users.
	bodyShare = 50
)

// bodyBudget bounds the memory of all bodies that are being received. It is safe for
// concurrent use.
type bodyBudget struct {
	limit  int64 // bytes
	onFull func(ctx context.Context, user string)

	mu    sync.Mutex // guards all below
	used  int64
	users map[string]int64 // bytes of those that hold some
}

// newBodyBudget returns a budget of bytes. Its users call onFull for each call that
// they refuse.
func newBodyBudget(limit int64, onFull func(ctx context.Context, user string)) *bodyBudget {
	return &bodyBudget{limit: limit, onFull: onFull, users: make(map[string]int64)}
}

// take reserves bytes for a user, and reports whether there was room. A user that holds
// nothing may take all free bytes.
func (b *bodyBudget) take(user string, bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.users[user]
	if b.used+bytes > b.limit || held > 0 && (held+bytes)*100 > b.limit*bodyShare {
		return false
	}
	b.used += bytes
	b.users[user] = held + bytes
	return true
}

// give ends a reservation.
func (b *bodyBudget) give(user string, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= bytes
	if b.users[user] -= bytes; b.users[user] == 0 {
		delete(b.users, user)
	}
}

// reserved returns the bytes of all reservations.
func (b *bodyBudget) reserved() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// reservation is what one body holds of a budget. Buffers grow by doubling, so it counts
// twice the bytes that were read. It is not safe for concurrent use.
type reservation struct {
	budget *bodyBudget
	user   string // set before the first byte is read
	read   int64
	taken  int64
}

// grow counts n bytes more, and reports whether there is room for them.
func (r *reservation) grow(n int) bool {
	r.read += int64(n)
	if r.read <= smallBody || 2*r.read <= r.taken {
		return true
	}
	more := (2*r.read - r.taken + bodyStep - 1) / bodyStep * bodyStep
	if !r.budget.take(r.user, more) {
		return false
	}
	r.taken += more
	return true
}

// release ends the reservation.
func (r *reservation) release() {
	if r.taken > 0 {
		r.budget.give(r.user, r.taken)
		r.taken = 0
	}
}
