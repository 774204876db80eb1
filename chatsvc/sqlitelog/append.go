package sqlitelog

import (
	"context"

	"example.com/simplechat/chatsvc"
)

// Append implements [chatsvc.Log]. If the record is invalid, the code is
// invalid_argument; while the disk is full, it is resource_exhausted. In both cases the
// record was not stored. Otherwise the code is unavailable, and the record may have been
// stored, unless the text says that it was not.
func (l *Log) Append(ctx context.Context, data []byte, key string) (chatsvc.Appended, error) {
	if err := ctx.Err(); err != nil {
		return chatsvc.Appended{}, err
	}
	p, err := newPending(chatsvc.NewRecord{Record: data, Key: key})
	if err != nil {
		return chatsvc.Appended{}, err
	}
	if err := l.appends.add(p); err != nil {
		return chatsvc.Appended{}, err
	}
	outcome := p.wait(ctx)
	return outcome.Appended, outcome.Err
}

// AppendBatch implements [chatsvc.BatchLog]; it fails like Append.
func (l *Log) AppendBatch(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	outcomes := make([]chatsvc.Outcome, len(records))
	waiting := make([]*pendingAppend, 0, len(records))
	places := make([]int, 0, len(records))
	for i, r := range records {
		if outcomes[i].Err = ctx.Err(); outcomes[i].Err != nil {
			continue
		}
		p, err := newPending(r)
		if outcomes[i].Err = err; err == nil {
			waiting, places = append(waiting, p), append(places, i)
		}
	}
	err := l.appends.add(waiting...)
	for i, p := range waiting {
		if err != nil {
			outcomes[places[i]].Err = err
			continue
		}
		outcomes[places[i]] = p.wait(ctx)
	}
	return outcomes
}
