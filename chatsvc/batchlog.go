package chatsvc

import "context"

// NewRecord is a record that is to be appended.
type NewRecord struct {
	// Record is a record as in [Entry].
	Record []byte
	// Key is as in [Log.Append].
	Key string
}

// Outcome is the result for one record of a batch.
type Outcome struct {
	Appended Appended
	// Err is the error, as in [Log.Append]. If it is not nil, Appended is not valid.
	Err error
}

// BatchLog is a [Log] that can append many records at a time at low cost. A
// [Service] uses it for requests with many messages. To other logs it appends one
// record after the other.
type BatchLog interface {
	Log

	// AppendBatch appends each record as Append would, in order, so that the offsets of
	// the stored records increase. If a record is refused, later ones may still be
	// stored. It returns an outcome for each record. It must be safe for concurrent use.
	AppendBatch(ctx context.Context, records []NewRecord) []Outcome
}

// appendBatch appends records to any log.
func appendBatch(ctx context.Context, log Log, records []NewRecord) []Outcome {
	if batch, ok := log.(BatchLog); ok {
		return batch.AppendBatch(ctx, records)
	}
	outcomes := make([]Outcome, len(records))
	for i, r := range records {
		outcomes[i].Appended, outcomes[i].Err = log.Append(ctx, r.Record, r.Key)
	}
	return outcomes
}
