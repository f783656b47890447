package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Security is how a connection to a mail server is kept from readers.
type Security string

// The kinds of security.
const (
	StartTLS    Security = "starttls" // RFC 3207; a server that does not offer it takes no letters
	ImplicitTLS Security = "tls"      // RFC 8314
	Plain       Security = "none"
)

// SMTPConfig says which server takes letters.
type SMTPConfig struct {
	// Host and Port are the server's. Required.
	Host string
	Port int
	// Security defaults to StartTLS.
	Security Security
	// User and Password sign in. Default to not signing in.
	User, Password string
	// TLS is what certificates are checked with. Defaults to the system's.
	TLS *tls.Config
	// DialTimeout and SendTimeout bound the connecting and one letter. Default to 15 s and
	// 1 min; more than 1 min is not taken.
	DialTimeout, SendTimeout time.Duration
}

// ports are those of RFC 6409 and RFC 8314.
const (
	submissionPort  = 587
	submissionsPort = 465
)

// ParseSMTP reads the address of a mail server: smtp://user@host:587 or
// smtps://user@host:465. With ?starttls=never the connection is not encrypted. The errors
// are sentences for operators; a password in the address is one.
func ParseSMTP(text string) (SMTPConfig, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return SMTPConfig{}, errors.New("it is not an address such as smtp://user@mail.example.org:587 or smtps://user@mail.example.org:465")
	}
	if _, has := u.User.Password(); has {
		return SMTPConfig{}, errors.New("a password does not belong into an address, where others can read it: put it into a file")
	}
	cfg := SMTPConfig{Host: u.Hostname(), User: u.User.Username(), Security: StartTLS, Port: submissionPort}
	if u.Scheme == "smtps" {
		cfg.Security, cfg.Port = ImplicitTLS, submissionsPort
	}
	if u.Port() != "" {
		if cfg.Port, err = strconv.Atoi(u.Port()); err != nil || cfg.Port < 1 || cfg.Port > 65535 {
			return SMTPConfig{}, errors.New("its port is none")
		}
	}
	if strings.ContainsFunc(cfg.Host+cfg.User, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return SMTPConfig{}, errors.New("it has characters that no host and no user has")
	}
	q, err := url.ParseQuery(u.RawQuery)
	for key, values := range q {
		if key != "starttls" || len(values) != 1 || values[0] != "never" || u.Scheme != "smtp" {
			err = errors.New(key)
		}
		cfg.Security = Plain
	}
	if err != nil {
		return SMTPConfig{}, errors.New("the only thing that can follow it is ?starttls=never, of smtp://")
	}
	if cfg.Security == Plain && cfg.User != "" && !isLoopback(cfg.Host) {
		return SMTPConfig{}, errors.New("a password is not sent where others can read it: leave out either the user or ?starttls=never")
	}
	return cfg, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// SMTP is a Sender that takes letters to a server by SMTP.
type SMTP struct{ cfg SMTPConfig }

// NewSMTP returns the sender.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	if cfg.Host == "" || cfg.Port < 1 || cfg.Port > 65535 {
		return nil, errors.New("new mail sender: host and port of a server are required")
	}
	if cfg.Security == "" {
		cfg.Security = StartTLS
	}
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{}
	}
	cfg.TLS = cfg.TLS.Clone()
	cfg.TLS.ServerName, cfg.TLS.MinVersion = cfg.Host, tls.VersionTLS12
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 15 * time.Second
	}
	if cfg.SendTimeout == 0 {
		cfg.SendTimeout = sendTimeout
	}
	if cfg.SendTimeout > sendTimeout {
		return nil, fmt.Errorf("new mail sender: a letter cannot take longer than %s", sendTimeout)
	}
	return &SMTP{cfg}, nil
}

// Dial implements Sender: it connects, makes the connection safe and signs in.
func (s *SMTP) Dial(ctx context.Context) (Line, error) {
	c := &conn{}
	options := []mail.Option{
		mail.WithPort(s.cfg.Port), mail.WithTimeout(s.cfg.DialTimeout), mail.WithTLSConfig(s.cfg.TLS), mail.WithoutSMTPUTF8(),
		mail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.connect(ctx, c, network, address)
		}),
	}
	switch s.cfg.Security {
	case ImplicitTLS:
		options = append(options, mail.WithSSL())
	case Plain:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if s.cfg.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername(s.cfg.User), mail.WithPassword(s.cfg.Password))
	}
	client, err := mail.NewClient(s.cfg.Host, options...)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, c.hurry)()
	to, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		c.end() // the library leaves it open
		return nil, err
	}
	return &line{conn: c, client: to, timeout: s.cfg.SendTimeout}, nil
}

func (s *SMTP) connect(ctx context.Context, c *conn, network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.Conn = raw
	c.mu.Unlock()
	if s.cfg.Security != ImplicitTLS {
		return c, nil
	}
	safe := tls.Client(c, s.cfg.TLS)
	if err := safe.HandshakeContext(ctx); err != nil {
		c.end()
		return nil, err
	}
	return safe, nil
}

// hurryFor is how long what is under way may take when central stops.
const hurryFor = 5 * time.Second

// conn is a connection whose deadlines can be drawn in.
type conn struct {
	net.Conn
	mu    sync.Mutex
	limit time.Time
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.limit.IsZero() && t.After(c.limit) {
		t = c.limit
	}
	return c.Conn.SetDeadline(t)
}

// hurry has whatever is under way come to its end soon.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = time.Now().Add(hurryFor)
	if c.Conn != nil {
		_ = c.Conn.SetDeadline(c.limit) // one that cannot be set is of a connection that is closed
	}
}

func (c *conn) end() {
	if c.Conn != nil {
		_ = c.Conn.Close() // it is given up either way
	}
}

// line is a connection that takes letters.
type line struct {
	conn    *conn
	client  *smtp.Client
	timeout time.Duration
	broken  bool // there is no talking to the server any more
}

// Send implements Line.
func (l *line) Send(ctx context.Context, letter *Letter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	msg, err := message(letter)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, l.conn.hurry)()
	err = l.send(letter, msg)
	if refusal := (*Refusal)(nil); err != nil && !errors.As(err, &refusal) {
		l.broken = true
	}
	return err
}

func (l *line) send(letter *Letter, msg []byte) error {
	if err := l.client.UpdateDeadline(l.timeout); err != nil {
		return err
	}
	if err := l.client.Mail(envelope(letter.From)); err != nil {
		return l.refused(err, true)
	}
	if err := l.client.Rcpt(envelope(letter.To)); err != nil {
		return l.refused(err, false)
	}
	data, err := l.client.Data()
	if err != nil {
		return l.refused(err, false)
	}
	if _, err := data.Write(msg); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return l.refused(err, false)
	}
	return nil
}

// mustSignIn is the answer of a server that takes letters of its own users only, RFC 4954.
const mustSignIn = 530

// refused is an error as a Refusal, where the server said no in words; the next letter can
// be begun then.
func (l *line) refused(err error, sender bool) error {
	said := (*textproto.Error)(nil)
	if !errors.As(err, &said) {
		return err
	}
	l.broken = said.Code == closing || l.client.Reset() != nil
	return &Refusal{Code: said.Code, Text: said.Msg, Sender: sender && said.Code != closing || said.Code == mustSignIn}
}

// Broken implements Line.
func (l *line) Broken() bool { return l.broken }

// Close implements Line.
func (l *line) Close() {
	if !l.broken && l.client.UpdateDeadline(hurryFor) == nil {
		_ = l.client.Quit() // a courtesy
	}
	l.conn.end()
}

func envelope(a netmail.Address) string { return "<" + a.Address + ">" }

// message is a letter as RFC 5322 and MIME have it.
func message(l *Letter) ([]byte, error) {
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(&l.From)
	m.ToMailAddress(&l.To)
	m.Subject(l.Subject)
	m.SetMessageIDWithValue(l.MessageID)
	m.SetDateWithValue(l.Date)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	m.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All")
	m.SetGenHeader(mail.HeaderContentLang, l.Lang)
	m.SetBodyString(mail.TypeTextPlain, l.Text)
	m.AddAlternativeString(mail.TypeTextHTML, l.HTML)
	for _, f := range l.Pictures {
		err := m.EmbedReader(f.Name, bytes.NewReader(f.Body), mail.WithFileContentType(mail.ContentType(f.Type)), mail.WithFileContentID("<"+f.cid+">"))
		if err != nil {
			return nil, fmt.Errorf("write picture of letter: %w", err)
		}
	}
	for _, f := range l.Files {
		if err := m.AttachReader(f.Name, bytes.NewReader(f.Body), mail.WithFileContentType(mail.ContentType(f.Type))); err != nil {
			return nil, fmt.Errorf("attach file to letter: %w", err)
		}
	}
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("write letter: %w", err)
	}
	return out.Bytes(), nil
}
