package chatsvc

import (
	"sync"
	"sync/atomic"

	"example.com/simplechat/chatsvc/internal/record"
)

// jsonForm is the JSON of a chunk's records. It is made when the first subscriber needs it,
// and dropped when memory is short.
type jsonForm struct {
	account *jsonAccount // shared by all chunks with the same bound; nil: not counted
	// array is the memory of data, or nil if there is no data. Mu must be held to change it.
	array atomic.Pointer[jsonArray]

	mu   sync.Mutex // guards all below
	data []byte     // each record's message, followed by a comma
	ends []int      // where each record's comma ends in data
}

// jsonAccount counts the memory of JSON forms.
type jsonAccount struct {
	bytes atomic.Int64
	// freed is called with the size of a form that is no longer counted. Writes
	// may still hold it. It must not block.
	freed func(bytes int64)
}

// jsonArray stands for the memory of a JSON form. Each time that the form is made again or
// grows, it gets another jsonArray.
type jsonArray struct{ bytes int64 }

// json returns the batch's messages as JSON objects with commas between them, and the
// array that they are in.
func (b batch) json() ([]byte, *jsonArray, error) {
	data, ends, array, err := b.jsonParts()
	if err != nil || b.count == 0 {
		return nil, nil, err
	}
	first := 0
	if b.index > 0 {
		first = ends[b.index-1]
	}
	return data[first : ends[len(ends)-1]-1], array, nil
}

// jsonParts returns the JSON form of the chunk up to the end of the batch, the ends of the
// records in it, each after a comma, and its array. The batch begins with the record at its
// index.
func (b batch) jsonParts() (data []byte, ends []int, array *jsonArray, err error) {
	if b.count == 0 {
		return nil, nil, nil, nil
	}
	data, ends, array, err = b.makeJSON()
	// The chunk may have been evicted while the form was made. Then drop did not wait, and
	// the form must be dropped here.
	if b.chunk.evicted.Load() {
		b.chunk.json.forget()
	}
	return data, ends, array, err
}

// makeJSON is jsonParts for a batch with records.
func (b batch) makeJSON() ([]byte, []int, *jsonArray, error) {
	f := &b.chunk.json
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.extend(b)
	f.count()
	if err != nil {
		return nil, nil, nil, err
	}
	return f.data, f.ends[:len(b.ends)], f.array.Load(), nil
}

// extend adds the records that the form does not have yet. The caller holds mu.
func (f *jsonForm) extend(b batch) error {
	if cap(f.data) == 0 {
		f.data = make([]byte, 0, len(b.records)+len(b.records)/2+64*len(b.ends))
	}
	for i := len(f.ends); i < len(b.ends); i++ {
		m, err := record.Parse(b.records[start(i, b.ends):b.ends[i]])
		if err != nil {
			return err
		}
		data, err := m.AppendJSON(f.data)
		if err != nil {
			return err
		}
		data = append(data, ',')
		f.data = data
		f.ends = append(f.ends, len(f.data))
	}
	return nil
}

// count updates the account after the form has grown. The caller holds mu.
func (f *jsonForm) count() {
	old, bytes := f.array.Load(), int64(cap(f.data)+8*cap(f.ends))
	if old != nil && old.bytes == bytes {
		return
	}
	f.uncount()
	f.array.Store(&jsonArray{bytes})
	if f.account != nil {
		f.account.bytes.Add(bytes)
	}
}

// uncount removes the array from the account. Writes may still hold it. The caller
// holds mu.
func (f *jsonForm) uncount() {
	old := f.array.Load()
	if old == nil || f.account == nil {
		return
	}
	f.account.bytes.Add(-old.bytes)
	if f.account.freed != nil {
		f.account.freed(old.bytes)
	}
}

// forget removes the form from its account permanently.
func (f *jsonForm) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uncount()
	f.account = nil
}

// drop frees the form, unless it is being made at the moment. The next batch makes it again.
func (f *jsonForm) drop() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	f.uncount()
	f.array.Store(nil)
	f.data, f.ends = nil, nil
}
