package jetlog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The witness is a second stream, in the memory of as many NATS servers as the
// log's. Its only record names the log's epoch. It is lost when most of these
// servers end at the same time, as in a power cut of the site: just then the
// log's stream may have lost acknowledged records that were not on a disk yet, and
// would give their offsets to others. It survives when servers restart one after
// the other. No SimpleChat server needs to run in either case.

// testimony is the record of the witness.
type testimony struct {
	// Epoch is the one that the stream has, or gets now.
	Epoch string `json:"epoch"`
	// From is the epoch that the stream had before, empty if unknown.
	From string `json:"from,omitempty"`
}

func (l *Log) witnessName() string { return l.stream + "-witness" }

// checkWitness fails with [errReplaced] if the stream gets another epoch, because
// records may be lost.
func (l *Log) checkWitness(ctx context.Context, info *jetstream.StreamInfo) error {
	said, sequence, err := l.askWitness(ctx)
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	epoch := epochOf(info)
	switch {
	case said.Epoch == epoch:
		return nil
	case said.Epoch != "" && said.From == epoch: // another server is about to, or ended before it was done
		return l.setEpoch(ctx, info, said.Epoch)
	case said.Epoch != "" || info.State.LastSeq == 0: // the stream is a new one, or its epoch was set by an operator
		return l.tellWitness(ctx, testimony{Epoch: epoch}, sequence)
	case l.syncAlways:
		l.logger.Warn("most nats servers of the stream have restarted together: no record is lost, as they are said to run with sync_interval: always", "stream", l.stream)
		return l.tellWitness(ctx, testimony{Epoch: epoch}, sequence)
	}
	l.logger.Error("most nats servers of the stream have restarted together and may have lost acknowledged messages: a new epoch begins, so that clients read the history again; "+
		"set sync_interval: always on all of them and tell this server so, or restart them one after the other",
		"stream", l.stream, "first", info.State.FirstSeq, "last", info.State.LastSeq)
	return l.beginEpoch(ctx, info, rand.Text())
}

// beginEpoch gives the stream another epoch, and returns [errReplaced] when that is
// done. Of several servers that do so at the same time, one decides which.
func (l *Log) beginEpoch(ctx context.Context, info *jetstream.StreamInfo, epoch string) error {
	said, sequence, err := l.askWitness(ctx)
	if err != nil {
		return err
	}
	from := epochOf(info)
	if said.From != from || said.Epoch == "" {
		if err := l.tellWitness(ctx, testimony{epoch, from}, sequence); err != nil {
			return err
		}
		said.Epoch = epoch
	}
	return l.setEpoch(ctx, info, said.Epoch)
}

// askWitness returns the record of the witness with its sequence, or nothing if it
// has none.
func (l *Log) askWitness(ctx context.Context) (said testimony, sequence uint64, err error) {
	got, found, err := l.leaderGet(ctx, l.witnessName(), getRequest{LastFor: l.witnessName()})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := l.createWitness(ctx); err != nil {
			return said, 0, err
		}
		got, found, err = l.leaderGet(ctx, l.witnessName(), getRequest{LastFor: l.witnessName()})
	}
	if err != nil || !found {
		return said, 0, err
	}
	if err := json.Unmarshal(got.Record, &said); err != nil || said.Epoch == "" {
		l.logger.Warn("the record in the witness stream is damaged, and counts as missing", "stream", l.witnessName(), "error", err)
		said = testimony{}
	}
	return said, got.Offset, nil
}

// createWitness makes the witness.
func (l *Log) createWitness(ctx context.Context) error {
	_, err := l.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        l.witnessName(),
		Description: "tells whether most NATS servers of stream " + l.stream + " have restarted together",
		Subjects:    []string{l.witnessName()},
		Storage:     jetstream.MemoryStorage,
		Replicas:    l.config.Replicas,
		MaxMsgs:     1,
		MaxAge:      0,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("create stream %s: %w", l.witnessName(), err)
	}
	return nil
}

// tellWitness replaces the record with this sequence, 0 if there is none. It
// fails if another server was faster.
func (l *Log) tellWitness(ctx context.Context, said testimony, sequence uint64) error {
	data, err := json.Marshal(said)
	if err != nil {
		return err
	}
	_, err = l.js.PublishMsg(ctx, &nats.Msg{Subject: l.witnessName(), Data: data}, jetstream.WithExpectLastSequence(sequence))
	if err != nil {
		return fmt.Errorf("write to stream %s: %w", l.witnessName(), err)
	}
	return nil
}

// getRequest is a question for one record of a stream.
type getRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
}

// leaderRecord is a record as the leader of its stream has it.
type leaderRecord struct {
	Offset  uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Record  []byte    `json:"data"`
	Headers []byte    `json:"hdrs"`
}

// leaderGet asks the leader of a stream for a record.
func (l *Log) leaderGet(ctx context.Context, stream string, question getRequest) (got leaderRecord, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	data, err := json.Marshal(question)
	if err != nil {
		return got, false, err
	}
	msg, err := l.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, data)
	if err != nil {
		return got, false, err
	}
	var answer struct {
		Message leaderRecord        `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return got, false, fmt.Errorf("nats: answer %q: %w", msg.Data, err)
	}
	switch {
	case answer.Error == nil:
		return answer.Message, true, nil
	case answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return got, false, nil
	}
	return got, false, answer.Error
}
