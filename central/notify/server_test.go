package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	netmail "net/mail"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
	"gatehouse/central/pgtest"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// taken is a letter that the server has.
type taken struct {
	from, to string
	raw      []byte
	safe     bool // it came by TLS
}

// message reads its headers.
func (l taken) message(t *testing.T) *netmail.Message {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(l.raw))
	require.NoError(t, err, "%s", l.raw)
	return m
}

// server is a mail server with ways of its own.
type server struct {
	port int
	smtp *smtp.Server

	mu      sync.Mutex
	letters []taken
	lines   int // connections that it has had
	// rcpt and data are asked before it takes a recipient and a letter. They may be nil.
	rcpt func(to string) error
	data func(l taken) error
	from func(from string) error
	// password is what it takes from user "ada"; empty: it does not ask.
	password string
	// tls is its certificate, security where it is spoken from. Defaults to none.
	tls      *tls.Config
	security notify.Security
}

type session struct {
	s    *server
	l    taken
	in   bool
	conn *smtp.Conn
}

// listen begins a server at a port; 0 is any.
func listen(t *testing.T, port int, change func(s *server)) *server {
	t.Helper()
	s := &server{}
	if change != nil {
		change(s)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	s.port = l.Addr().(*net.TCPAddr).Port
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines++
		return &session{s: s, conn: c}, nil
	}))
	s.smtp.Domain, s.smtp.AllowInsecureAuth = "mx.example.org", true
	s.smtp.ErrorLog = silence{}
	if s.tls != nil {
		s.smtp.TLSConfig, s.smtp.AllowInsecureAuth = s.tls, false
	}
	if s.security == notify.ImplicitTLS {
		l = tls.NewListener(l, s.tls)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.smtp.Serve(l) // it ends with the test
	}()
	t.Cleanup(func() {
		_ = s.smtp.Close()
		<-ended
	})
	return s
}

type silence struct{}

func (silence) Printf(string, ...any) {}
func (silence) Println(...any)        {}

func (s *server) all() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.letters...)
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "ada" || password != x.s.password {
			return smtp.ErrAuthFailed
		}
		x.in = true
		return nil
	}), nil
}

func (x *session) Reset()        { x.l = taken{} }
func (x *session) Logout() error { return nil }

func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	if x.s.password != "" && !x.in {
		return smtp.ErrAuthRequired
	}
	if x.s.from != nil {
		if err := x.s.from(from); err != nil {
			return err
		}
	}
	x.l.from = from
	return nil
}

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if x.s.rcpt != nil {
		if err := x.s.rcpt(to); err != nil {
			return err
		}
	}
	x.l.to = to
	return nil
}

// errHangUp has the server end the connection without a word.
var errHangUp = errors.New("hang up")

func (x *session) Data(r io.Reader) (err error) {
	if x.l.raw, err = io.ReadAll(r); err != nil {
		return err
	}
	_, x.l.safe = x.conn.TLSConnectionState()
	if x.s.data != nil {
		err = x.s.data(x.l)
	}
	if err == nil || errors.Is(err, errHangUp) {
		x.s.mu.Lock()
		x.s.letters = append(x.s.letters, x.l)
		x.s.mu.Unlock()
	}
	if errors.Is(err, errHangUp) {
		_ = x.conn.Conn().Close()
	}
	return err
}

// bundle is a central that sends letters.
type bundle struct {
	*notify.Service
	*notify.Worker
	*notify.Desk
	pool    *pgxpool.Pool
	log     *bytes.Buffer
	mu      *sync.Mutex
	now     time.Time
	tickets []notify.Ticket
	files   []notify.File
	printed []syncproto.TicketNo // what files were made of
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) passes(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// setup returns a central that sends to a port.
func setup(t *testing.T, port int, change ...func(c *notify.Config)) *bundle {
	t.Helper()
	return onPool(t, pgtest.New(t), port, change...)
}

func onPool(t *testing.T, pool *pgxpool.Pool, port int, change ...func(c *notify.Config)) *bundle {
	t.Helper()
	b := &bundle{pool: pool, log: &bytes.Buffer{}, mu: &sync.Mutex{}, now: time.Now()}
	cfg := notify.Config{
		Store: notify.Store{Pool: b.pool},
		Settings: notify.Settings{
			Sender: sender(t, port, nil), From: netmail.Address{Name: "Fair", Address: "tickets@fair.example"}, AccountURL: "https://fair.example/account",
			OrderURL: "https://fair.example/order",
		},
		Tickets: func(_ context.Context, _ syncproto.EventNo, numbers []syncproto.TicketNo) (notify.Bundle, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			var out []notify.Ticket
			for _, t := range b.tickets {
				for _, no := range numbers {
					if no == t.Number {
						out = append(out, t)
					}
				}
			}
			return notify.Bundle{Tickets: out, Files: func(of []int) ([]notify.File, error) {
				for _, i := range of {
					b.printed = append(b.printed, out[i].Number)
				}
				return b.files, nil
			}}, nil
		},
		Event:  func(context.Context, syncproto.EventNo) (string, error) { return "Fair", nil },
		Logger: slog.New(slog.NewTextHandler(locked{b}, nil)), Now: b.clock, Chance: func() float64 { return 0.5 },
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	b.Service, err = notify.New(cfg)
	require.NoError(t, err)
	b.Worker, b.Desk = notify.NewWorker(b.Service), b.Service.Desk
	t.Cleanup(b.HangUp)
	return b
}

type locked struct{ b *bundle }

func (l locked) Write(p []byte) (int, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.b.log.Write(p)
}

func sender(t *testing.T, port int, change func(c *notify.SMTPConfig)) notify.Sender {
	t.Helper()
	cfg := notify.SMTPConfig{Host: "127.0.0.1", Port: port, Security: notify.Plain, DialTimeout: 5 * time.Second, SendTimeout: 10 * time.Second}
	if change != nil {
		change(&cfg)
	}
	s, err := notify.NewSMTP(cfg)
	require.NoError(t, err)
	return s
}

// step has the letters that are due tried.
func (b *bundle) step(t *testing.T) int {
	t.Helper()
	n, err := b.Step(t.Context())
	require.NoError(t, err)
	return n
}

func (b *bundle) link(t *testing.T, to string) {
	t.Helper()
	require.NoError(t, b.Reset(t.Context(), notify.Link{To: to, Name: "Ada", Token: "s3cret-" + to, Until: b.clock().Add(30 * 24 * time.Hour)}))
}

// only is the one letter there is.
func (b *bundle) only(t *testing.T) notify.Mail {
	t.Helper()
	list, err := b.List(t.Context(), notify.Filter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// kept is what a letter is made of, as far as it is kept.
func (b *bundle) kept(t *testing.T, id uuid.UUID) *string {
	t.Helper()
	var text *string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT params::text FROM mail WHERE id = $1`, id).Scan(&text))
	return text
}

func (b *bundle) issue(t *testing.T, holders ...notify.Holder) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		if err := b.QueueTickets(batch, 1, holders); err != nil {
			return err
		}
		return tx.SendBatch(t.Context(), batch).Close()
	}))
}

// unused is a port where nobody listens.
func unused(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
