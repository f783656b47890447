package gate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"gatehouse/gate/control"
	"gatehouse/gate/journal"
	"gatehouse/gate/syncer"
	"gatehouse/gate/till"
	"gatehouse/syncproto"
)

// tillDir holds the sealed sales, in the data directory.
const tillDir = "walkup"

// soldPrefix begins the reference that central gives a ticket that was sold here.
const soldPrefix = "walkup-"

const (
	// tendEvery is how often expired leases and sealed sales are looked after.
	tendEvery = time.Second
	// uploadPauseMax is the longest pause after central took no names.
	uploadPauseMax = 30 * time.Second
)

// markLost is what it means that the mark could not be set.
const markLost = "after its next start this gate sells when central has answered, not before"

// counter is what a session sells with.
type counter struct {
	till *till.Till
	mark till.Mark

	mu     sync.Mutex
	marked syncproto.Ref // where the mark is
}

// openCounter opens what a session sells with. Where that fails the gate sells
// nothing, and its lanes go on.
func openCounter(g *Gate) *counter {
	t, err := till.Open(filepath.Join(g.cfg.Dir, tillDir))
	if err != nil {
		g.cfg.Logger.Error("this gate sells nothing until it is started again", "err", err)
	}
	return &counter{till: t, mark: markOf(g)}
}

// markOf is where a gate notes how far its journal is whole.
func markOf(g *Gate) till.Mark {
	dir := g.cfg.Volatile
	if dir == "" {
		dir = till.VolatileDir
	}
	return till.NewMark(dir, g.id.Get().Device)
}

// advance moves the mark to a durable entry, never back.
func (c *counter) advance(r syncproto.Ref) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Incarnation == c.marked.Incarnation && r.Seq <= c.marked.Seq {
		return nil
	}
	if err := c.mark.Set(r); err != nil {
		// None is better than one that knows of less than was sold.
		return errors.Join(err, c.mark.Clear())
	}
	c.marked = r
	return nil
}

// settle moves the mark to a sale. A journal that has lost sales gets none: the next
// start of the gate has to hear from central that it has.
func (c *counter) settle(sure bool, r syncproto.Ref) error {
	if !sure {
		return c.mark.Clear()
	}
	return c.advance(r)
}

// keep makes a sale's names durable, sealed.
func (c *counter) keep(key *syncproto.SignedKey, d syncproto.SaleDetails) error {
	sealed, err := till.Seal(key, d)
	if err != nil {
		return err
	}
	return c.till.Put(sealed)
}

// sure reports whether a journal is known to hold every sale of this gate: it
// reaches the mark that was set since the box was switched on. An image that a disk
// was set back to does not.
func sure(mark till.Mark, held []journal.Stream) bool {
	at, ok := mark.Get()
	return ok && slices.ContainsFunc(held, func(s journal.Stream) bool {
		return s.Incarnation == at.Incarnation && s.Last.Seq >= at.Seq
	})
}

// Sell implements control.Seller.
func (b backend) Sell(ctx context.Context, w control.WalkUp) (control.Sold, error) {
	w.Name, w.Email = strings.TrimSpace(w.Name), strings.TrimSpace(w.Email)
	if w.Name == "" || !printable(w.Name) || !printable(w.Email) {
		return control.Sold{}, fmt.Errorf("a sale needs a name; name and e-mail have at most %d bytes and no control characters", syncproto.TextMax)
	}
	s := b.g.current.Load()
	trust := s.engine.Trust()
	if trust == nil || trust.SealKey() == nil {
		return control.Sold{}, errors.New("this gate has no key of central to seal names with, so it sells nothing; connect it to a central of this version")
	}
	if s.counter.till == nil {
		return control.Sold{}, errors.New("this gate has no folder for who bought tickets, so it sells nothing; see its log")
	}
	sale, ref, err := s.engine.Desk().Sell(ctx, w.Type)
	if err != nil {
		return control.Sold{}, fmt.Errorf("this gate cannot record sales; use another gate and call support: %w", err)
	}
	if sale.Refused != "" {
		return control.Sold{}, errors.New(sale.Refused)
	}
	out := control.Sold{
		Code: sale.Code, Number: sale.Ticket, TicketID: syncproto.TicketID(b.g.id.Get().Stream, sale.Ticket), Type: sale.Name, Left: sale.Left,
		Reference: soldPrefix + strconv.FormatUint(uint64(sale.Ticket), 10),
	}
	if err := s.counter.settle(s.engine.Status().Sure, ref); err != nil {
		b.g.cfg.Logger.Warn(markLost, "err", err)
	}
	if err := s.counter.keep(trust.SealKey(), syncproto.SaleDetails{
		Event: b.g.id.Get().Event, Ticket: sale.Ticket, Name: w.Name, Email: w.Email, Code: sale.Code,
	}); err != nil {
		// The ticket is sold and good, and what is lost can be written down.
		b.g.cfg.Logger.Error("the name of a sale was not kept", "ticket", sale.Ticket, "err", err)
		out.Warning = fmt.Sprintf("The ticket is good, but who bought it could not be kept: note name and reference. (%v)", err)
	}
	return out, nil
}

// exchangeTimeout bounds one exchange with central.
func exchangeTimeout(cfg *Config) time.Duration {
	if cfg.Timeout == 0 {
		return syncer.DefaultTimeout
	}
	return cfg.Timeout
}

func printable(text string) bool {
	return len(text) <= syncproto.TextMax && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Return implements control.Seller.
func (b backend) Return(ctx context.Context, typ string) (int, error) {
	s := b.g.current.Load()
	st := s.engine.Status()
	if st.Closed != "" {
		return 0, errors.New(st.Closed)
	}
	total := 0
	for _, l := range st.Leases {
		if l.Unsold == 0 || typ != "" && l.Key != typ {
			continue
		}
		returned, err := s.engine.Desk().Return(ctx, l.ID)
		if err != nil {
			return total, err
		}
		if returned {
			total += l.Unsold
		}
	}
	return total, nil
}

// tend gives back leases that have run out, and brings central the names of sales,
// until ctx ends.
func (s *session) tend(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var up upload
	marked := false
	for {
		st := s.engine.Status()
		if st.Sure && !marked && len(st.Leases) > 0 {
			marked = true
			if err := s.counter.advance(s.journal.Last().Ref); err != nil {
				s.gate.cfg.Logger.Warn(markLost, "err", err)
			}
		}
		for _, l := range st.Leases {
			if l.Due {
				if _, err := s.engine.Desk().Return(ctx, l.ID); err != nil {
					return err
				}
				s.gate.cfg.Logger.Info("a lease has run out; what is not sold of it goes back", "type", l.Key, "numbers", l.Unsold)
			}
		}
		if st.Online && !st.Locked && s.counter.till != nil {
			up.run(ctx, s)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// upload brings sealed sales to central, with pauses while it takes none.
type upload struct {
	due   time.Time
	pause time.Duration
}

func (u *upload) run(ctx context.Context, s *session) {
	now := s.gate.cfg.Now()
	if now.Before(u.due) {
		return
	}
	taken, err := s.upload(ctx)
	if err != nil && ctx.Err() == nil {
		s.gate.cfg.Logger.Warn("central takes no names of sales; this is tried again", "err", err)
	}
	if u.pause = min(2*max(u.pause, tendEvery), uploadPauseMax); taken > 0 || err == nil && s.counter.till.Waiting() == 0 {
		u.pause = 0
	}
	u.due = now.Add(u.pause)
}

// upload offers all sealed sales once and forgets those that central has judged.
func (s *session) upload(ctx context.Context) (done int, err error) {
	for after := syncproto.TicketNo(0); ; {
		sales, err := s.counter.till.Next(after)
		if err != nil || len(sales) == 0 {
			return done, err
		}
		after = sales[len(sales)-1].Ticket
		exchange, cancel := context.WithTimeout(ctx, exchangeTimeout(&s.gate.cfg))
		r, err := s.client.WalkUp(exchange, syncproto.WalkUpRequest{Sales: sales})
		cancel()
		if err != nil {
			return done, err
		}
		if len(r.Refused) > 0 {
			s.gate.cfg.Logger.Error("central made no tickets of some sales, so their names are forgotten; see their verdicts at central", "tickets", r.Refused)
		}
		for _, n := range append(r.Taken, r.Refused...) {
			if err := s.counter.till.Remove(n); err != nil {
				return done, err
			}
			done++
		}
	}
}
