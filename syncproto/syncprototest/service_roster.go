package syncprototest

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Manifest implements wire.Service.
func (s service) Manifest(_ context.Context, id, stream uuid.UUID) (syncproto.Manifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev, err := streamOf(s.Memory, id, stream)
	if err != nil {
		return syncproto.Manifest{}, err
	}
	records := records(s.Memory, ev)
	m := syncproto.Manifest{
		Stream: stream, Cursor: ev.log.cursor(s.epoch, ev.log.head()).String(), Seq: ev.log.head(), Count: int64(len(records)),
	}
	err = wire.EncodeChunks(func(yield func(*syncproto.Record, error) bool) {
		for i := range records {
			if !yield(&records[i], nil) {
				return
			}
		}
	}, func(c wire.EncodedChunk) error {
		m.Chunks = append(m.Chunks, c.Chunk)
		s.blobs[c.Hash] = c.Body
		return nil
	})
	return m, err
}

// Blob implements wire.Service.
func (s service) Blob(_ context.Context, _ uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if body := s.blobs[hash]; body != nil {
		return body, nil
	}
	return nil, syncproto.Errorf(syncproto.CodeNotFound, "There is no such blob any more; the gate takes a new snapshot.")
}

// Changes implements wire.Service.
func (s service) Changes(ctx context.Context, id uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error) {
	page, grown, err := s.page(id, req)
	if err != nil || page.To > page.From || req.WaitMS == 0 {
		return page, err
	}
	over := time.NewTimer(time.Duration(req.WaitMS) * time.Millisecond)
	defer over.Stop()
	select {
	case <-grown:
	case <-over.C:
	case <-ctx.Done():
		return page, ctx.Err()
	}
	page, _, err = s.page(id, req)
	return page, err
}

// page is what follows a cursor now; grown is closed when there is more.
func (s service) page(id uuid.UUID, req syncproto.ChangesRequest) (page syncproto.Page, grown <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev, at, err := placeLocked(s.Memory, id, req.Stream, req.Cursor)
	if err != nil {
		return page, nil, err
	}
	rows := ev.log.after(at, req.Limit)
	records, rowOf := once(s.Memory, ev, rows)
	n, err := wire.FitPage(records)
	if err != nil {
		return page, nil, err
	}
	to := at + int64(len(rows))
	if n < len(records) {
		to = at + int64(rowOf[n])
	}
	return syncproto.Page{
		Stream: req.Stream, From: at, To: to, Next: ev.log.cursor(s.epoch, to).String(),
		Head: ev.log.head(), ServerMS: s.cfg.Now().UnixMilli(), Records: records[:n],
	}, ev.grown, nil
}

// once is the present state of each subject of rows, at its first row.
func once(m *Memory, ev *event, rows []logRow) (records []syncproto.Record, rowOf []int) {
	seen := make(map[subject]bool, len(rows))
	for i, r := range rows {
		if !seen[r.subject] {
			seen[r.subject] = true
			records = append(records, state(m, ev, r.subject))
			rowOf = append(rowOf, i)
		}
	}
	return records, rowOf
}
