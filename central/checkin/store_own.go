package checkin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
)

// visits finds out what can be known of check-ins before any lock.
func (s *Desk) visits(ctx context.Context, in []CheckIn) ([]visit, error) {
	out := make([]visit, len(in))
	for i := range in {
		v := &out[i]
		v.CheckIn = in[i]
		if v.Lane == "" {
			v.Lane = ownLane
		}
		var err error
		if v.Code == "" {
			err = s.byID(ctx, v)
		} else {
			err = s.byCode(ctx, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Events are the events that check-ins are for, in their order, as far as a code says
// or a ticket is known: 0 for none. It is for whoever has to ask who may.
func (s *Desk) Events(ctx context.Context, in []CheckIn) ([]syncproto.EventNo, error) {
	out := make([]syncproto.EventNo, len(in))
	for i := range in {
		v := visit{CheckIn: in[i]}
		if v.Code != "" {
			if code, err := credential.Parse([]byte(v.Code)); err == nil {
				out[i] = code.Event
			}
			continue
		}
		if err := s.byID(ctx, &v); err != nil {
			return nil, err
		}
		out[i] = v.event
	}
	return out, nil
}

func (s *Desk) byID(ctx context.Context, v *visit) error {
	var event, no int64
	err := s.cfg.Pool.QueryRow(ctx, `SELECT event_id, number FROM ticket WHERE id = $1`, v.Ticket).Scan(&event, &no)
	if errors.Is(err, pgx.ErrNoRows) {
		v.reason = syncproto.ReasonUnknown
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ticket: %w", err)
	}
	v.event, v.no, v.byID = syncproto.EventNo(event), syncproto.TicketNo(no), true
	return nil
}

func (s *Desk) byCode(ctx context.Context, v *visit) error {
	var err error
	if v.code, err = credential.Parse([]byte(v.Code)); err != nil {
		v.reason = syncproto.ReasonMalformed
		return nil
	}
	if v.signed, err = s.signature(ctx, &v.code); err != nil {
		return err
	}
	hasher, err := s.hashers.of(ctx, v.code.Event, s.cfg.HashKey)
	if err != nil {
		return err
	}
	if hasher == nil { // there is no such event
		v.reason = v.signed
		if v.reason == "" {
			v.reason = syncproto.ReasonUnknown
		}
		return nil
	}
	v.event, v.no, v.hash = v.code.Event, v.code.Ticket, hasher.Sum([]byte(v.Code))
	return nil
}

// signature says whether a code is genuine; empty where it is. The signature of a
// gate, of a ticket that it sold, is not checked: such a ticket is known here by its
// hash, or its sale has not come.
func (s *Desk) signature(ctx context.Context, c *credential.Code) (syncproto.Reason, error) {
	if c.Provisional {
		return syncproto.ReasonUnknown, nil
	}
	key, err := s.cfg.TicketKey(ctx, c.Key)
	switch {
	case err != nil:
		return "", fmt.Errorf("read ticket key: %w", err)
	case key == nil:
		return syncproto.ReasonUnknown, nil
	case !c.Verify(key):
		return syncproto.ReasonBadSignature, nil
	}
	return "", nil
}

func (s *Desk) ownGates(ctx context.Context, visits []visit) (map[syncproto.EventNo]Own, error) {
	out := map[syncproto.EventNo]Own{}
	for _, event := range eventsOf(visits) {
		own, err := s.cfg.OwnGate(ctx, event)
		if err != nil {
			return nil, err
		}
		out[event] = own
	}
	return out, nil
}

// attend decides on all visits in one transaction, and has what it wrote told.
func (s *Desk) attend(ctx context.Context, visits []visit, owns map[syncproto.EventNo]Own, req *request) ([]Answer, error) {
	var answers []Answer
	var touched []uuid.UUID
	err := s.books.inFold(ctx, func(tx pgx.Tx) (err error) {
		answers, touched, err = s.attendAll(ctx, tx, visits, owns, req)
		return err
	})
	for _, stream := range touched {
		s.cfg.Touch(stream)
	}
	return answers, err
}

func (s *Desk) attendAll(ctx context.Context, tx pgx.Tx, visits []visit, owns map[syncproto.EventNo]Own, req *request) (answers []Answer, touched []uuid.UUID, err error) {
	if req != nil {
		if answers, err = claimRequest(ctx, tx, req); answers != nil || err != nil {
			return answers, nil, err
		}
	}
	now := s.cfg.Now()
	answers = make([]Answer, len(visits))
	for i := range visits {
		answers[i] = Answer{Decision: "deny", Reason: visits[i].reason, Event: visits[i].event, At: now.UTC()}
	}
	for _, event := range eventsOf(visits) {
		c := counter{tx: tx, now: now, event: event, own: owns[event]}
		stream, err := s.attendEvent(ctx, &c, visits, answers)
		if err != nil {
			return nil, nil, err
		}
		touched = append(touched, stream)
	}
	if req != nil {
		return answers, touched, keepAnswers(ctx, tx, req, answers)
	}
	return answers, touched, nil
}

// requestsKept is for how long a request is known by its key.
const requestsKept = 24 * time.Hour

// claimRequest makes this transaction the one that does a request, and returns nil; or
// it returns what was answered before. Some that are too old make room.
func claimRequest(ctx context.Context, tx pgx.Tx, req *request) ([]Answer, error) {
	_, err := tx.Exec(ctx, `
		DELETE FROM own_request
		WHERE key_hash IN (
		  SELECT key_hash FROM own_request
		  WHERE created_at < now() - $1::interval
		  ORDER BY created_at
		  LIMIT 10
		  FOR UPDATE SKIP LOCKED)`, requestsKept)
	if err != nil {
		return nil, fmt.Errorf("forget old requests: %w", err)
	}
	made, err := tx.Exec(ctx, `
		INSERT INTO own_request (key_hash, request_hash, answers)
		VALUES ($1, $2, 'null')
		ON CONFLICT (key_hash) DO NOTHING`, req.key[:], req.content[:])
	if err != nil {
		return nil, fmt.Errorf("note request: %w", err)
	}
	if made.RowsAffected() == 1 {
		return nil, nil
	}
	var content, body []byte
	err = tx.QueryRow(ctx, `SELECT request_hash, answers FROM own_request WHERE key_hash = $1`, req.key[:]).Scan(&content, &body)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if string(content) != string(req.content[:]) {
		return nil, ErrKeyReused
	}
	var answers []Answer
	if err := json.Unmarshal(body, &answers); err != nil {
		return nil, fmt.Errorf("read answers to a request: %w", err)
	}
	return answers, nil
}

func keepAnswers(ctx context.Context, tx pgx.Tx, req *request, answers []Answer) error {
	body, err := json.Marshal(answers)
	if err != nil {
		return fmt.Errorf("keep answers to a request: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE own_request SET answers = $2 WHERE key_hash = $1`, req.key[:], body); err != nil {
		return fmt.Errorf("keep answers to a request: %w", err)
	}
	return nil
}

// counter is where check-ins of one event are made, in one transaction.
type counter struct {
	tx      pgx.Tx
	now     time.Time
	event   syncproto.EventNo
	own     Own
	last    syncproto.Position // of the journal
	t       syncproto.HLC
	entries []syncproto.Entry // new ones
}

// attendEvent decides on the visits of one event and writes the entries. The order of
// locks is that of a push: the gate, its journal, the tickets.
func (s *Desk) attendEvent(ctx context.Context, c *counter, visits []visit, answers []Answer) (uuid.UUID, error) {
	owner, err := lockOwner(ctx, c.tx, c.own.Device, c.own.Device)
	if err != nil {
		return uuid.Nil, err
	}
	rules, err := s.books.at(c.event, owner.rulesRev)
	if err != nil {
		return uuid.Nil, err
	}
	if err := c.open(ctx); err != nil {
		return uuid.Nil, err
	}
	known, err := readCodes(ctx, c.tx, c.event, visits)
	if err != nil {
		return uuid.Nil, err
	}
	dossiers, err := openDossiers(ctx, c.tx, c.event, known.genuine(c.event, visits))
	if err != nil {
		return uuid.Nil, err
	}
	for i := range visits {
		if v := &visits[i]; v.reason == "" && v.event == c.event {
			if err := c.attend(ctx, rules, v, dossiers[v.no], known[v.no], owner.stream, &answers[i]); err != nil {
				return uuid.Nil, err
			}
		}
	}
	if len(c.entries) == 0 {
		return owner.stream, nil
	}
	if err := takeEntries(ctx, c.tx, noTrade, rules, owner, c.own.Device, c.entries); err != nil {
		return uuid.Nil, err
	}
	return owner.stream, moveWatermark(ctx, c.tx, c.last, syncproto.SignHead(c.own.Key, c.own.Device, c.last))
}

// stored is the code of a ticket as central holds it.
type stored struct {
	id   uuid.UUID
	hash syncproto.CodeHash
}

type codes map[syncproto.TicketNo]stored

// readCodes reads the codes of the tickets that visits name.
func readCodes(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, visits []visit) (codes, error) {
	var numbers []int32
	for i := range visits {
		if v := &visits[i]; v.reason == "" && v.event == event {
			numbers = append(numbers, int32(v.no))
		}
	}
	rows, err := tx.Query(ctx, `SELECT number, id, code_hash FROM ticket WHERE event_id = $1 AND number = ANY ($2::int[])`, event, numbers)
	if err != nil {
		return nil, fmt.Errorf("read codes: %w", err)
	}
	out := codes{}
	var no int64
	var id uuid.UUID
	var hash []byte
	err = forEach(rows, []any{&no, &id, &hash}, func() error {
		k := stored{id: id}
		copy(k.hash[:], hash)
		out[syncproto.TicketNo(no)] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read codes: %w", err)
	}
	return out, nil
}

// genuine are the numbers of tickets that visits prove or name. For any other number,
// which anybody can make up, nothing is written.
func (k codes) genuine(event syncproto.EventNo, visits []visit) []syncproto.TicketNo {
	var out []syncproto.TicketNo
	for i := range visits {
		v := &visits[i]
		if v.reason != "" || v.event != event {
			continue
		}
		if known, ok := k[v.no]; v.byID || v.signed == "" || ok && known.hash == v.hash {
			out = append(out, v.no)
		}
	}
	return out
}

// attend decides on one visit. d is nil where the ticket is neither known nor proven.
func (c *counter) attend(ctx context.Context, rules *admission.Rules, v *visit, d *dossier, known stored, stream uuid.UUID, a *Answer) error {
	if v.byID {
		v.hash = known.hash
	}
	t := admission.Ticket{No: v.no}
	if d != nil {
		t = d.ticket
	}
	t, a.Reason = v.identify(t, known.hash)
	if t.No != 0 {
		a.Ticket, a.Type = syncproto.TicketID(stream, t.No), rules.TypeName(t.Type)
	}
	kind := syncproto.KindDeny
	lane, err := v.place(rules)
	if err != nil {
		return err
	}
	if a.Reason == "" {
		verdict := decide(rules, lane, d, t, c.now)
		kind, a.Reason, a.Decision = verdict.Kind, verdict.Reason, answerOf(verdict.Kind)
		if a.First, err = c.earlier(ctx, verdict.Of); err != nil {
			return err
		}
	}
	if t.No == 0 { // what anybody can make at home is not written
		return nil
	}
	e := c.write(v, kind, a.Reason, d)
	if fact, ok := admission.FactOf(&e, false); ok {
		d.rows = append(d.rows, factRow{fact: fact})
	}
	return nil
}

func answerOf(k syncproto.Kind) string {
	switch k {
	case syncproto.KindAdmit:
		return "admit"
	case syncproto.KindExit:
		return "exit"
	}
	return "deny"
}

// write adds an entry to the journal. Its time is after that of every fact it was
// decided on, unless one is of a clock that is far ahead.
func (c *counter) write(v *visit, kind syncproto.Kind, reason syncproto.Reason, d *dossier) syncproto.Entry {
	limit := syncproto.HLCAt(c.now.Add(syncproto.HLCDriftMax))
	for i := range d.rows {
		if t := d.rows[i].fact.T; t > c.t && t <= limit {
			c.t = t
		}
	}
	return c.append(syncproto.Entry{
		Kind: kind, Reason: reason, Event: c.event, Ticket: v.no, Code: v.hash, Lane: v.Lane, Zone: v.Zone, Direction: v.Direction, By: v.By,
	})
}

func (c *counter) append(e syncproto.Entry) syncproto.Entry {
	c.t = c.t.Next(syncproto.HLCAt(c.now))
	e.Incarnation, e.Seq, e.T, e.At = c.last.Incarnation, c.last.Seq+1, c.t, c.now.UnixMilli()
	e.Hash = e.ChainHash(c.last.Hash)
	c.entries = append(c.entries, e)
	c.last = syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
	return e
}

// earlier reads the admission that stands in the way; nil for none.
func (c *counter) earlier(ctx context.Context, of syncproto.Ref) (*Earlier, error) {
	if of.IsZero() {
		return nil, nil
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.Ref() == of {
			return &Earlier{At: time.UnixMilli(e.At).UTC(), Gate: "", Lane: e.Lane}, nil
		}
	}
	var out Earlier
	var ms int64
	err := c.tx.QueryRow(ctx, `
		SELECT e.at_ms, e.lane, g.name
		FROM checkin_entry e
		JOIN gate g ON g.device_id = e.device_id
		WHERE e.incarnation = $1 AND e.seq = $2`, of.Incarnation, int64(of.Seq)).Scan(&ms, &out.Lane, &out.Gate)
	if err != nil {
		return nil, fmt.Errorf("read earlier admission: %w", err)
	}
	out.At = time.UnixMilli(ms).UTC()
	return &out, nil
}
