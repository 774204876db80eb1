package sqlitelog

import (
	"crypto/sha256"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc"
)

// keyWindow is how long a key is known, in milliseconds.
const keyWindow = int64(chatsvc.KeyWindow / 1e6)

// recentKeys are the keys of the last two minutes. The table keys has them for the
// next start. They are looked up in memory, because an index of random keys would triple
// the cost of an append. They are not safe for concurrent use.
type recentKeys struct {
	uses  map[keyHash]keyUse
	order []keyUse // the oldest first
}

// keyUse is one use of a key.
type keyUse struct {
	key    keyHash
	offset uint64
	used   int64 // log time in milliseconds
}

// add notes a key.
func (k *recentKeys) add(u keyUse) {
	if k.uses == nil {
		k.uses = make(map[keyHash]keyUse)
	}
	k.uses[u.key] = u
	k.order = append(k.order, u)
}

// expired returns the highest offset of the keys that have left the window, at most
// limit of them, or 0 if there are none.
func (k *recentKeys) expired(now int64, limit int) uint64 {
	last := uint64(0)
	for _, u := range k.order[:min(limit, len(k.order))] {
		if now-u.used <= keyWindow {
			break
		}
		last = u.offset
	}
	return last
}

// drop forgets the keys up to an offset.
func (k *recentKeys) drop(offset uint64) {
	n := 0
	for ; n < len(k.order) && k.order[n].offset <= offset; n++ {
		if u := k.order[n]; k.uses[u.key] == u {
			delete(k.uses, u.key)
		}
	}
	k.order = k.order[n:]
}

// find returns the offset of the append that had a key within the window.
func (k *recentKeys) find(key keyHash, now int64) (uint64, bool) {
	u, ok := k.uses[key]
	return u.offset, ok && now-u.used <= keyWindow
}

// oldest returns when the oldest key was used, now if there is none.
func (k *recentKeys) oldest(now int64) int64 {
	if len(k.order) == 0 {
		return now
	}
	return k.order[0].used
}

// readKeys returns the keys in the table. It leaves out impossible ones: keys of messages
// at next or above, and keys used after now. A key from the future would never expire, and
// neither would those after it.
func readKeys(conn *sqlite.Conn, next uint64, now int64) (recentKeys, error) {
	var keys recentKeys
	err := sqlitex.ExecuteTransient(conn, `SELECT "offset", key, used FROM keys ORDER BY "offset"`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			u := keyUse{offset: uint64(stmt.ColumnInt64(0)), used: stmt.ColumnInt64(2)}
			isPossible := u.offset > 0 && u.offset < next && u.used <= now
			if isPossible && stmt.ColumnLen(1) == len(u.key) {
				stmt.ColumnBytes(1, u.key[:])
				keys.add(u)
			}
			return nil
		},
	})
	return keys, err
}

// keyHash stands for a key of any length: 16 bytes of its SHA-256.
type keyHash [16]byte

func hashKey(key string) keyHash {
	sum := sha256.Sum256([]byte(key))
	return keyHash(sum[:])
}
