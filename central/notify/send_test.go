package notify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
	"gatehouse/central/pgtest"
	"gatehouse/syncproto"
)

func TestALetterGoesAndItsSecretWithIt(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	queued := b.only(t)
	require.Equal(t, notify.Queued, queued.State)
	require.Contains(t, *b.kept(t, queued.ID), "s3cret")
	require.Equal(t, 1, b.step(t))

	got := s.all()
	require.Len(t, got, 1)
	require.Equal(t, "tickets@fair.example", got[0].from)
	require.Equal(t, "ada@example.org", got[0].to)
	head := got[0].message(t).Header
	require.Equal(t, "<"+queued.ID.String()+"@fair.example>", head.Get("Message-ID"))
	require.Equal(t, "auto-generated", head.Get("Auto-Submitted"))
	require.Equal(t, "Set a new password", head.Get("Subject"))
	sent := b.only(t)
	require.Equal(t, notify.Sent, sent.State)
	require.Equal(t, 1, sent.Tries)
	require.Nil(t, b.kept(t, sent.ID))
	require.Zero(t, b.step(t))
	require.ErrorIs(t, b.Retry(t.Context(), sent.ID), notify.ErrSent)
}

func TestLettersWaitForAServerThatIsAwayAndLoseNoTry(t *testing.T) {
	t.Parallel()
	port := unused(t)
	b := setup(t, port)
	b.link(t, "ada@example.org")
	for range 30 {
		_, err := b.Step(t.Context())
		require.Error(t, err)
		b.passes(time.Second)
	}
	m := b.only(t)
	require.Equal(t, notify.Queued, m.State)
	require.Zero(t, m.Tries)
	at, err := b.Server(t.Context())
	require.NoError(t, err)
	require.False(t, at.DownSince.IsZero())
	require.True(t, at.TriedAt.After(at.DownSince))
	require.Contains(t, at.Error, "refused")

	s := listen(t, port, nil)
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 1)
	at, err = b.Server(t.Context())
	require.NoError(t, err)
	require.True(t, at.DownSince.IsZero())
	require.Equal(t, 1, strings.Count(b.log.String(), "takes no letters"), "it is told once")
	require.Equal(t, 1, strings.Count(b.log.String(), "takes letters again"))
}

func TestAWrongPasswordAndAnUnwelcomeSenderCostNoTry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server func(s *server)
		sender func(c *notify.SMTPConfig)
	}{
		"wrong password": {
			func(s *server) { s.password = "right" },
			func(c *notify.SMTPConfig) { c.User, c.Password = "ada", "wrong" },
		},
		"no password": {func(s *server) { s.password = "right" }, nil},
		"no STARTTLS": {nil, func(c *notify.SMTPConfig) { c.Security = notify.StartTLS }},
		"unwelcome sender": {func(s *server) {
			s.from = func(string) error { return &smtp.SMTPError{Code: 550, Message: "not from here"} }
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, 0, c.server)
			b := setup(t, s.port, func(cfg *notify.Config) { cfg.Sender = sender(t, s.port, c.sender) })
			b.link(t, "ada@example.org")
			_, err := b.Step(t.Context())
			require.Error(t, err)
			_, err = b.Step(t.Context())
			require.Error(t, err)
			require.Zero(t, b.only(t).Tries)
			require.Equal(t, 1, strings.Count(b.log.String(), "takes no letters"), "it is told once")
			require.NotContains(t, b.log.String(), "takes letters again")
			require.Empty(t, s.all())
		})
	}
}

func TestTheRightPasswordSignsIn(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, func(s *server) { s.password = "right" })
	b := setup(t, s.port, func(cfg *notify.Config) {
		cfg.Sender = sender(t, s.port, func(c *notify.SMTPConfig) { c.User, c.Password = "ada", "right" })
	})
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 1)
}

func TestARefusalForNowIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	busy := true
	s := listen(t, 0, func(s *server) {
		s.rcpt = func(string) error {
			if busy {
				return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
			}
			return nil
		}
	})
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	m := b.only(t)
	require.Equal(t, 1, m.Tries)
	require.Contains(t, m.Error, "greylisted")
	require.Zero(t, b.step(t), "not at once")
	busy = false
	b.passes(notify.RetryMin)
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 1)
	require.Empty(t, b.only(t).Error)
}

func TestALetterIsGivenUpAfterItsLastTry(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, func(s *server) {
		s.rcpt = func(string) error { return &smtp.SMTPError{Code: 450, Message: "mailbox busy"} }
	})
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	for i := range notify.TriesMax {
		require.Equal(t, i, b.only(t).Tries)
		require.Equal(t, 1, b.step(t))
		b.passes(notify.RetryMax)
	}
	m := b.only(t)
	require.Equal(t, notify.Failed, m.State)
	require.Equal(t, notify.TriesMax, m.Tries)
	require.Nil(t, b.kept(t, m.ID), "the token is forgotten")
	require.ErrorIs(t, b.Retry(t.Context(), m.ID), notify.ErrGone)
	require.Zero(t, b.step(t))
}

func TestOneRecipientThatIsRefusedKeepsNobodyElseBack(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, func(s *server) {
		s.rcpt = func(to string) error {
			if to == "gone@example.org" {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
			}
			return nil
		}
	})
	b := setup(t, s.port)
	for _, to := range []string{"ada@example.org", "gone@example.org", "bob@example.org"} {
		b.link(t, to)
	}
	require.Equal(t, 3, b.step(t))
	require.Len(t, s.all(), 2)
	require.Equal(t, 1, s.connections())
	failed, err := b.List(t.Context(), notify.Filter{State: notify.Failed})
	require.NoError(t, err)
	require.Len(t, failed, 1)
	require.Equal(t, "gone@example.org", failed[0].To)
	require.Contains(t, failed[0].Error, "no such mailbox")
	sent, lost := b.Counts()
	require.Equal(t, []int64{2, 1}, []int64{sent, lost})
}

func TestALetterGoesAgainUnderItsMessageIDWhenTheLineBreaksAfterIt(t *testing.T) {
	t.Parallel()
	var once sync.Once
	s := listen(t, 0, func(s *server) {
		s.data = func(taken) (err error) {
			once.Do(func() { err = errHangUp })
			return err
		}
	})
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	b.link(t, "bob@example.org")
	require.Equal(t, 2, b.step(t), "the other one is not kept back")
	b.passes(notify.RetryMin)
	require.Equal(t, 1, b.step(t))
	ids := map[string]int{}
	for _, l := range s.all() {
		ids[l.message(t).Header.Get("Message-ID")]++
	}
	require.Len(t, s.all(), 3)
	require.Len(t, ids, 2)
	left, err := b.Waiting(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
}

func TestASlowServerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	s := listen(t, 0, func(s *server) {
		s.data = func(taken) error {
			<-stop
			return errors.New("too late")
		}
	})
	t.Cleanup(func() { close(stop) })
	b := setup(t, s.port, func(cfg *notify.Config) {
		cfg.Sender = sender(t, s.port, func(c *notify.SMTPConfig) { c.SendTimeout = 100 * time.Millisecond })
	})
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	m := b.only(t)
	require.Equal(t, 1, m.Tries)
	require.Contains(t, m.Error, "timeout")
}

func TestTwoCopiesOfCentralSendEachLetterOnce(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	pool := pgtest.New(t)
	one, two := onPool(t, pool, s.port), onPool(t, pool, s.port)
	for i := range 200 {
		one.link(t, fmt.Sprintf("guest%d@example.org", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for _, b := range []*bundle{one, two} {
		working.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	require.Eventually(t, func() bool {
		n, err := one.Waiting(t.Context())
		return err == nil && n == 0
	}, time.Minute, 10*time.Millisecond)
	stop()
	working.Wait()
	to := map[string]int{}
	for _, l := range s.all() {
		to[l.to]++
	}
	require.Len(t, s.all(), 200)
	require.Len(t, to, 200)
	a, _ := one.Counts()
	c, _ := two.Counts()
	require.EqualValues(t, 200, a+c)
}

// A central whose database is torn away when the server has the letter cannot note that it
// went. Another one sends it again when the claim is over, not before, and mail programs see
// one letter.
func TestACrashBetweenSendingAndNotingDoublesNoMessageID(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	dying, living := pgtest.Pool(t, url), pgtest.Pool(t, url)
	var once sync.Once
	s := listen(t, 0, func(s *server) {
		s.data = func(taken) error {
			once.Do(func() {
				// Whatever was there of a connection is cut while the letter is under way.
				_, err := living.Exec(context.Background(), `ALTER TABLE mail RENAME TO hidden`)
				if err != nil {
					t.Errorf("hide the table: %v", err)
				}
			})
			return nil
		}
	})
	first := onPool(t, dying, s.port)
	first.link(t, "ada@example.org")
	_, err := first.Step(t.Context())
	require.Error(t, err)
	first.HangUp()
	_, err = living.Exec(t.Context(), `ALTER TABLE hidden RENAME TO mail`)
	require.NoError(t, err)

	second := onPool(t, living, s.port)
	require.Zero(t, second.step(t), "it is the other's still")
	second.passes(notify.ClaimFor + time.Second)
	require.Equal(t, 1, second.step(t))
	got := s.all()
	require.Len(t, got, 2)
	require.Equal(t, got[0].message(t).Header.Get("Message-ID"), got[1].message(t).Header.Get("Message-ID"))
	require.Equal(t, notify.Sent, second.only(t).State)
}

func TestTwoThousandLettersGoOverOneConnection(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	var holders []notify.Holder
	for i := range 2000 {
		no, to := syncproto.TicketNo(i+1), fmt.Sprintf("guest%d@example.org", i)
		holders = append(holders, notify.Holder{Ticket: no, Name: "Guest", Email: to})
		b.tickets = append(b.tickets, notify.Ticket{Number: no, Email: to, Event: "Fair", Code: "CODE"})
	}
	b.issue(t, holders...)
	for left := 2000; left > 0; left -= notify.ClaimsMax {
		require.Equal(t, notify.ClaimsMax, b.step(t))
	}
	require.Zero(t, b.step(t))
	require.Len(t, s.all(), 2000)
	require.Equal(t, 1, s.connections())
}

func TestWhatIsOldIsForgotten(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	b.passes(notify.KeepFor + time.Hour)
	b.link(t, "bob@example.org")
	require.NoError(t, b.Sweep(t.Context()))
	require.Equal(t, "bob@example.org", b.only(t).To)
}

func TestALetterGoesAtOnce(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	for i := range 20 {
		began := time.Now()
		b.link(t, fmt.Sprintf("ada%d@example.org", i))
		require.Eventually(t, func() bool { return len(s.all()) == i+1 }, 10*time.Second, time.Millisecond)
		if time.Since(began) < notify.PollEvery/2 {
			break // nobody polled in so short a time; on a busy machine it may take some attempts
		}
		require.Less(t, i, 19, "it waits for the next look at the table")
	}
	stop()
	working.Wait()
}

// What was taken and not tried when central stops is there for another one at once.
func TestLettersGoBackWhenCentralStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	s := listen(t, 0, func(s *server) {
		s.data = func(taken) error {
			stop()
			return nil
		}
	})
	b := setup(t, s.port)
	b.link(t, "ada@example.org")
	b.link(t, "bob@example.org")
	_, err := b.Step(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, s.all(), 1)
	b.HangUp()
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 2)
}

// A server so slow that others may take the rest before long is not given the rest.
func TestAWorkerGivesBackWhatItWouldComeToTooLate(t *testing.T) {
	t.Parallel()
	var b *bundle
	s := listen(t, 0, func(s *server) {
		s.data = func(taken) error {
			b.passes(time.Minute)
			return nil
		}
	})
	b = setup(t, s.port)
	for i := range 10 {
		b.link(t, fmt.Sprintf("guest%d@example.org", i))
	}
	require.Equal(t, 3, b.step(t))
	require.Equal(t, 3, b.step(t))
	require.Len(t, s.all(), 6)
}
