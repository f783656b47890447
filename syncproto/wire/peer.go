package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"gatehouse/syncproto"
)

// errPeer means that a frame is not one of the mesh. The connection that it came
// by is closed: what follows cannot be told from noise.
var errPeer = errors.New("not a frame of the mesh")

// peerFrame is a line of a mesh connection: a message, and the length of the
// events, or of the piece, that follows the line.
type peerFrame struct {
	syncproto.PeerMessage
	Bytes int `json:"events,omitempty"`
	Data  int `json:"data,omitempty"`
}

// AppendPeer appends the frame of m: one line of JSON, which for events gives the
// number of bytes that follow it, in the form of a push.
func AppendPeer(dst []byte, m *syncproto.PeerMessage) ([]byte, error) {
	if err := checkPeer(m); err != nil {
		return nil, err
	}
	f := peerFrame{PeerMessage: *m}
	var body []byte
	if m.Events != nil {
		var err error
		if body, err = EncodePush(m.Events); err != nil {
			return nil, fmt.Errorf("encode events for a peer: %w", err)
		}
		f.Bytes = len(body)
	}
	if m.Piece != nil {
		body = m.Piece.Data
		f.Data = len(body)
	}
	out, err := appendLine(dst, f)
	if err != nil {
		return nil, fmt.Errorf("encode frame for a peer: %w", err)
	}
	return append(out, body...), nil
}

// PeerReader reads the frames of one mesh connection. It is for one goroutine.
type PeerReader struct {
	in   *bufio.Reader
	body []byte
}

// NewPeerReader makes a reader of a connection. Its buffer holds the longest line.
func NewPeerReader(r io.Reader) *PeerReader {
	return &PeerReader{in: bufio.NewReaderSize(r, syncproto.LineBytesMax)}
}

// Next reads one message, checked for form and limits. Whether events are signed
// by their owner is for [VerifyPush]. A message without a field is of a later
// version. After any error the connection is of no more use: io.EOF is its end
// between two frames.
func (p *PeerReader) Next() (syncproto.PeerMessage, error) {
	line, err := p.in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return syncproto.PeerMessage{}, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		return syncproto.PeerMessage{}, fmt.Errorf("%w: %w", errPeer, errLine)
	case err != nil:
		return syncproto.PeerMessage{}, fmt.Errorf("read from peer: %w", within(err))
	}
	var f peerFrame
	if err := json.Unmarshal(line, &f); err != nil {
		return syncproto.PeerMessage{}, fmt.Errorf("%w: %w", errPeer, err)
	}
	if f.Bytes != 0 {
		if f.PeerMessage.Events, err = p.events(f.Bytes); err != nil {
			return syncproto.PeerMessage{}, err
		}
	}
	if f.Data != 0 {
		if err := p.piece(f.PeerMessage.Piece, f.Data); err != nil {
			return syncproto.PeerMessage{}, err
		}
	}
	return f.PeerMessage, checkPeer(&f.PeerMessage)
}

func (p *PeerReader) events(n int) (*syncproto.PushRequest, error) {
	if n < 0 || n > syncproto.PushBytesMax {
		return nil, fmt.Errorf("%w: events of %d bytes", errPeer, n)
	}
	if cap(p.body) < n {
		p.body = make([]byte, n)
	}
	p.body = p.body[:n]
	if _, err := io.ReadFull(p.in, p.body); err != nil {
		return nil, fmt.Errorf("read events from peer: %w", within(err))
	}
	req, err := DecodePush(p.body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPeer, err)
	}
	return &req, nil
}

// within is an error within a frame, where an end is none.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// piece reads what follows the line of a piece.
func (p *PeerReader) piece(into *syncproto.Piece, n int) error {
	if into == nil || n < 0 || n > syncproto.PieceBytesMax {
		return fmt.Errorf("%w: a piece of %d bytes", errPeer, n)
	}
	into.Data = make([]byte, n)
	if _, err := io.ReadFull(p.in, into.Data); err != nil {
		return fmt.Errorf("read piece from peer: %w", within(err))
	}
	return nil
}

// checkPeer checks the limits of a message, when writing and again when reading.
func checkPeer(m *syncproto.PeerMessage) error {
	switch {
	case m.Events != nil && m.Piece != nil:
		return fmt.Errorf("%w: events and a piece in one", errPeer)
	case m.Claim != nil:
		c := m.Claim
		if c.T > math.MaxInt64 || c.Ticket == 0 || c.Ticket > math.MaxInt32 || c.ErrMS < 0 || tooLong(string(c.Kind), c.Lane, c.Zone) {
			return fmt.Errorf("%w: claim out of range", errPeer)
		}
	case m.Answer != nil:
		if tooLong(string(m.Answer.Reason), m.Answer.Lane) {
			return fmt.Errorf("%w: answer out of range", errPeer)
		}
	case m.Vector != nil:
		if len(m.Vector.Chains) > syncproto.VectorChainsMax || tooLong(m.Vector.Cursor) {
			return fmt.Errorf("%w: vector of %d journals, %d is the most", errPeer, len(m.Vector.Chains), syncproto.VectorChainsMax)
		}
		if c := m.Vector.Claims; c != nil && len(c.Open) > syncproto.VectorClaimsMax {
			return fmt.Errorf("%w: vector of %d open claims, %d is the most", errPeer, len(c.Open), syncproto.VectorClaimsMax)
		}
		for _, c := range m.Vector.Chains {
			if c.First == 0 || c.First > math.MaxInt64 || c.Last > math.MaxInt64 {
				return fmt.Errorf("%w: journal out of range", errPeer)
			}
		}
	case m.Fetch != nil:
		if m.Fetch.After < 0 {
			return fmt.Errorf("%w: fetch out of range", errPeer)
		}
	case m.Piece != nil:
		if len(m.Piece.Data) > syncproto.PieceBytesMax {
			return fmt.Errorf("%w: a piece of %d bytes, %d is the most", errPeer, len(m.Piece.Data), syncproto.PieceBytesMax)
		}
	case m.Want != nil:
		if m.Want.First == 0 || m.Want.First > math.MaxInt64 {
			return fmt.Errorf("%w: want out of range", errPeer)
		}
	}
	return nil
}
