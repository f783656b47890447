package lane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/google/uuid"

	"gatehouse/gate/engine"
)

// Log writes one JSON line per complete scan, each in one write, after the
// decision is durable. It is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	w  io.Writer
	c  io.Closer
}

// line is what a decision log line holds. Scripts rely on the keys.
type line struct {
	At        string     `json:"at"`
	Lane      string     `json:"lane"`
	CodeHash  string     `json:"code_hash"`
	Decision  string     `json:"decision"`
	Reason    string     `json:"reason"`
	TicketID  *uuid.UUID `json:"ticket_id"`
	DecideUS  int64      `json:"decide_us"`
	DurableUS int64      `json:"durable_us"`
	// Certainty of an admission or exit: "6 of 6 gates", or "this gate only".
	Certainty string `json:"certainty,omitempty"`
}

// OpenLog opens a decision log for appending; "-" is stdout. A line that a power
// cut tore is ended with a newline first, so that every later line stands alone.
func OpenLog(path string, stdout io.Writer) (*Log, error) {
	if path == "-" {
		return &Log{w: stdout}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	if err := endTornLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("decision log: %w", err), f.Close())
	}
	return &Log{w: f, c: f}, nil
}

func endTornLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Write appends the line of one answer.
func (l *Log) Write(r engine.Result) error {
	out := line{
		At: r.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Lane: r.Lane, CodeHash: r.Code.String(),
		Decision: r.Decision.Decision, Reason: string(r.Reason), DecideUS: r.Decide.Microseconds(), DurableUS: r.Durable.Microseconds(),
		Certainty: r.Certainty(),
	}
	if r.TicketID != uuid.Nil {
		out.TicketID = &r.TicketID
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("decision log line: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("decision log: %w", err)
	}
	return nil
}

// Close closes the file; stdout stays open.
func (l *Log) Close() error {
	if l.c == nil {
		return nil
	}
	return l.c.Close()
}
