package chatsvc

import "context"

// NewRecord is a record that is to be appended.
type NewRecord struct {
	// Record is a record as in [Entry].
	Record []byte
	// Key is as in [Log.Append].
	Key string
}

// Outcome is what became of a record of a batch.
type Outcome struct {
	Appended Appended
	// Err is as that of [Log.Append]; Appended means nothing then.
	Err error
}

// BatchLog is a [Log] that takes many records at a time, for the price of few. A
// [Service] uses it for requests with many messages; to other logs it appends one
// record after the other.
type BatchLog interface {
	Log

	// AppendBatch appends records in their order, each as by Append: what is stored
	// of them gets offsets that grow. One that is refused does not refuse those after
	// it. It returns an outcome for each record, and is as safe for concurrent use.
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
