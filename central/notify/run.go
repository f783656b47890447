package notify

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"time"
)

// Sender takes letters to a mail server.
type Sender interface {
	// Dial connects to the server, so that it takes letters. Its error is about the server.
	Dial(ctx context.Context) (Line, error)
}

// Line is a connection to a mail server. It is used by one goroutine.
type Line interface {
	// Send returns when the server has taken the letter. A [*Refusal] is the server's word;
	// after any other error the letter may have gone or not.
	Send(ctx context.Context, l *Letter) error
	// Broken reports whether the line is of no use any more.
	Broken() bool
	// Close ends the connection.
	Close()
}

// Refusal is a server's no.
type Refusal struct {
	Code int    // RFC 5321, section 4.2.3
	Text string // what it said
	// Sender means that it takes nothing from this sender: it is no fault of the letter.
	Sender bool
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("the server answered %d %s", r.Code, r.Text) }

// closing is the answer of a server that ends the connection, RFC 5321, section 3.8.
const closing = 421

// Letter is a letter as it is sent.
type Letter struct {
	MessageID string // without brackets
	From, To  netmail.Address
	Date      time.Time
	Lang      string
	Subject   string
	Text      string
	HTML      string
	Pictures  []File // that stand in HTML
	Files     []File
}

// sendTimeout is how long a server may take over one letter. It is well below ClaimFor.
const sendTimeout = time.Minute

// serverError is that the server takes nothing at the moment.
type serverError struct{ error }

// Unwrap returns what the server said.
func (e serverError) Unwrap() error { return e.error }

// Run sends letters until ctx ends. Any number of copies of central may run it.
func (s *Service) Run(ctx context.Context) error {
	w := &worker{Service: s}
	defer w.hangUp()
	if err := w.run(ctx); ctx.Err() == nil {
		return err
	}
	return nil // whatever was under way was broken off
}

// worker sends letters. It is used by one goroutine.
type worker struct {
	*Service
	line   Line // nil while there is none
	server health
}

// health is what a worker knows of the server.
type health struct {
	asked, down bool
}

func (w *worker) run(ctx context.Context) error {
	var swept time.Time
	for away := 0; ; {
		if now := w.cfg.Now(); now.Sub(swept) >= sweepEvery {
			if err := w.sweep(ctx); err != nil {
				return err
			}
			swept = now
		}
		n, err := w.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause, woken := PollEvery, w.woken
		switch server := (serverError{}); {
		case errors.As(err, &server):
			away++
			pause, woken = w.pause(serverPauseMin, serverPauseMax, away), nil // letters do not hurry a server that is away
		case err != nil:
			return err
		default:
			away = 0
			if n == claimsMax {
				continue
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pause is how long to wait after a number of failures: twice as long with each, and
// between half of that and all of it by chance.
func (s *Service) pause(least, most time.Duration, failures int) time.Duration {
	d := least
	for range failures - 1 {
		d = min(2*d, most)
	}
	return d/2 + time.Duration(s.cfg.Chance()*float64(d/2))
}

// givenBack is how long it may take to give letters back when central stops.
const givenBack = 5 * time.Second

// step tries the letters that are due, claimsMax at the most, and returns how many that were.
// Its error is of the database, or of a server that takes nothing.
func (w *worker) step(ctx context.Context) (int, error) {
	letters, err := w.claim(ctx)
	if err != nil {
		return 0, err
	}
	if len(letters) == 0 {
		w.hangUp() // servers count connections
		return 0, nil
	}
	for i := range letters {
		left := letters[i:]
		err := ctx.Err()
		if err == nil && letters[i].until.Sub(w.cfg.Now()) > 2*sendTimeout {
			if err = w.try(ctx, &letters[i]); err == nil {
				continue
			}
		}
		// The letters go back: the server is away, or it was so slow that somebody else may
		// soon take what is left.
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), givenBack)
		defer cancel()
		return i, errors.Join(err, w.release(short, left))
	}
	return len(letters), nil
}

// try makes and sends one letter, and notes what became of it. Its error is of the database,
// or a serverError.
func (w *worker) try(ctx context.Context, d *due) error {
	l, err := w.writer.compose(ctx, d)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return w.failedNow(ctx, d, err, errors.Is(err, errVoid))
	}
	if err := w.dial(ctx); err != nil {
		return err
	}
	err = w.line.Send(ctx, l)
	if w.line.Broken() {
		w.hangUp()
	}
	// What has happened is noted though central stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), givenBack)
	defer cancel()
	if err == nil {
		return errors.Join(w.sentNow(ctx, d), w.back(ctx))
	}
	refusal := (*Refusal)(nil)
	if !errors.As(err, &refusal) || refusal.Code == closing {
		// Whether the letter or the server is to blame is not known. The letter waits, so that
		// one that every server hangs up on does not keep the others back.
		return w.failedNow(ctx, d, err, false)
	}
	if refusal.Sender {
		w.hangUp()
		return w.away(ctx, err)
	}
	return errors.Join(w.failedNow(ctx, d, err, refusal.Code >= 500), w.back(ctx))
}

// dial sees to it that there is a line.
func (w *worker) dial(ctx context.Context) error {
	if w.line != nil {
		return nil
	}
	line, err := w.cfg.Sender.Dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.away(ctx, fmt.Errorf("connect to the mail server: %w", err))
	}
	w.line = line
	return nil
}

// back notes that the server takes letters, where that is news.
func (w *worker) back(ctx context.Context) error {
	if w.server.asked && !w.server.down {
		return nil
	}
	if w.server.down {
		w.cfg.Logger.Info("the mail server takes letters again")
	}
	w.server = health{asked: true}
	return w.serverUp(ctx)
}

// away notes that the server takes nothing. It is logged once, and not with each try.
func (w *worker) away(ctx context.Context, cause error) error {
	if !w.server.down {
		w.cfg.Logger.Warn("the mail server takes no letters; they wait for it", "error", brief(cause))
	}
	w.server = health{asked: true, down: true}
	if err := w.serverDown(ctx, cause); err != nil {
		return err
	}
	return serverError{cause}
}

func (w *worker) hangUp() {
	if w.line != nil {
		w.line.Close()
		w.line = nil
	}
}
