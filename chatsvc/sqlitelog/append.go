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

// AppendOrdered implements [chatsvc.OrderedLog]; it fails like Append. The records are in
// one transaction.
func (l *Log) AppendOrdered(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	outcomes := make([]chatsvc.Outcome, 0, len(records))
	waiting := make([]*pendingAppend, 0, len(records))
	last := ctx.Err() // of the record after those that wait
	for i := 0; i < len(records) && last == nil; i++ {
		var p *pendingAppend
		if p, last = newPending(records[i]); last == nil {
			p.inOrder = i > 0
			waiting = append(waiting, p)
		}
	}
	if err := l.appends.add(waiting...); err != nil {
		waiting, last = nil, err
	}
	for _, p := range waiting {
		outcomes = append(outcomes, p.wait(ctx))
	}
	if last != nil {
		outcomes = append(outcomes, chatsvc.Outcome{Err: last})
	}
	for i, o := range outcomes {
		if o.Err != nil {
			return outcomes[:i+1]
		}
	}
	return outcomes
}
