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

// OrderedLog is a [Log] that takes many records at a time, and none after one that was not
// stored. A [Service] uses it for requests with [HeaderOrdered]; to other logs it appends
// one record after the other then.
type OrderedLog interface {
	Log

	// AppendOrdered appends records as [BatchLog.AppendBatch] does until one of them
	// fails: no record after that one is stored. It returns an outcome for each record
	// as far as the one that failed, at least one if there are records, and is as safe
	// for concurrent use.
	AppendOrdered(ctx context.Context, records []NewRecord) []Outcome
}

// appendOrdered appends records to any log until one of them has an error that passes. It
// returns their outcomes as far as that one.
func appendOrdered(ctx context.Context, log Log, records []NewRecord, passes func(error) bool) []Outcome {
	outcomes := make([]Outcome, 0, len(records))
	for len(outcomes) < len(records) {
		outcomes = append(outcomes, appendUntilError(ctx, log, records[len(outcomes):])...)
		if err := outcomes[len(outcomes)-1].Err; err != nil && passes(err) {
			break
		}
	}
	return outcomes
}

// appendUntilError appends at least the first of records. No record after one that failed
// is stored.
func appendUntilError(ctx context.Context, log Log, records []NewRecord) []Outcome {
	if ordered, ok := log.(OrderedLog); ok {
		return ordered.AppendOrdered(ctx, records)
	}
	appended, err := log.Append(ctx, records[0].Record, records[0].Key)
	return []Outcome{{appended, err}}
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
