package main

import (
	"context"
	"fmt"
	"runtime"

	"gatehouse/syncproto"
)

// heapPerTicketMax is the reach of a roster in memory, in bytes a ticket.
const heapPerTicketMax = 200

// measureMemory fills a roster and nothing else, and reads the heap that lives
// through a collection.
func measureMemory(_ context.Context, b *bench) ([]figure, error) {
	s, err := newScene()
	if err != nil {
		return nil, err
	}
	before := liveHeap()
	loaded, err := s.roster(b.large, nil, nil)
	if err != nil {
		return nil, err
	}
	after := liveHeap()
	runtime.KeepAlive(&loaded)
	perTicket := (float64(after) - float64(before)) / float64(b.large)
	return []figure{
		newFigure(fmt.Sprintf("live heap a ticket, roster of %d", b.large), perTicket, "B", reach{valueMax: heapPerTicketMax}).
			beside(float64(len(syncproto.CodeHash{})), "the 16 bytes of its code hash"),
	}, nil
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
