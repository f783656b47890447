package notify

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	text "text/template"
	"time"
	"unicode"

	"gatehouse/hardware/qrdraw"
)

//go:embed letters
var lettersFS embed.FS

// writer makes letters.
type writer struct {
	cfg   *Config
	html  *template.Template
	plain *text.Template
}

func newWriter(cfg *Config) (*writer, error) {
	html, err := template.ParseFS(lettersFS, "letters/letter.html")
	if err != nil {
		return nil, fmt.Errorf("read letters: %w", err)
	}
	plain, err := text.ParseFS(lettersFS, "letters/letter.txt")
	if err != nil {
		return nil, fmt.Errorf("read letters: %w", err)
	}
	return &writer{cfg, html, plain}, nil
}

// page is what a letter says.
type page struct {
	Lang, Dir string
	Subject   string
	Greeting  string
	Lead      []string
	Button    string // what Link does
	Link      string // empty: there is something to copy
	Copy      []string
	Tickets   []shown
	Notes     []string
	Words     *words
}

// shown is a ticket in a letter.
type shown struct {
	Holder, Type, Code, Link string
	When, Where              string
	Picture                  template.URL // of the code; empty for none
}

// pictureModulePx is the width of a module of a code's picture.
const pictureModulePx = 6

// composeTimeout bounds the making of a letter.
const composeTimeout = 30 * time.Second

// compose makes a letter of what is true now; errVoid where it has nothing to say. What
// panics over one letter, a drawing perhaps, keeps no other back.
func (s *writer) compose(ctx context.Context, d *due) (l *Letter, err error) {
	ctx, cancel := context.WithTimeout(ctx, composeTimeout)
	defer cancel()
	defer func() {
		if fault := recover(); fault != nil {
			l, err = nil, fmt.Errorf("write letter: panic: %v", fault)
		}
	}()
	return s.write(ctx, d)
}

func (s *writer) write(ctx context.Context, d *due) (*Letter, error) {
	w := wordsOf(d.lang)
	p := page{Lang: w.lang, Dir: w.dir, Greeting: w.greet(oneLine(d.name)), Words: w}
	l := &Letter{
		MessageID: d.id.String() + "@" + domainOf(s.cfg.From.Address), Date: s.cfg.Now(), Lang: w.lang,
		From: netmail.Address{Name: phrase(s.cfg.From.Name), Address: s.cfg.From.Address},
		To:   netmail.Address{Name: phrase(d.name), Address: d.to},
	}
	if err := checkAddress(d.to); err != nil {
		return nil, fmt.Errorf("%w: %w", errVoid, err)
	}
	var err error
	switch d.kind {
	case VerifyEmail, ResetPassword:
		err = s.writeLink(d, w, &p)
	case SeatOffered:
		err = s.writeSeat(ctx, d, w, &p)
	case TicketsReady:
		err = s.writeTickets(ctx, d, w, &p, l)
	default:
		// A newer copy of central may know, which is why it is tried again.
		err = fmt.Errorf("this central knows no letters of kind %q", d.kind)
	}
	if err != nil {
		return nil, err
	}
	var html, plain bytes.Buffer
	if err := errors.Join(s.html.Execute(&html, &p), s.plain.Execute(&plain, &p)); err != nil {
		return nil, fmt.Errorf("write letter: %w", err)
	}
	l.Subject, l.HTML, l.Text = oneLine(p.Subject), html.String(), plain.String()
	return l, nil
}

func (s *writer) writeLink(d *due, w *words, p *page) error {
	if !s.cfg.Now().Before(d.params.Until) {
		return fmt.Errorf("%w: the link expired before a server took it", errVoid)
	}
	what := "verify"
	p.Subject, p.Button, p.Lead = w.verify, w.verifyButton, []string{w.verifyLead}
	if d.kind == ResetPassword {
		what = "reset"
		p.Subject, p.Button, p.Lead = w.reset, w.resetButton, []string{w.resetLead}
	}
	switch {
	case s.cfg.AccountURL != "":
		// In the fragment, so that no server and no log has it.
		p.Link = s.cfg.AccountURL + "#" + what + "=" + url.QueryEscape(d.params.Token)
	case s.cfg.AccountPage != nil:
		p.Link = s.cfg.AccountPage(what, d.params.Token, w.lang)
	default:
		p.Lead, p.Copy = append(p.Lead, w.copyThis), []string{d.params.Token}
	}
	p.Notes = []string{fmt.Sprintf(w.until, moment(d.params.Until)), w.notYou}
	return nil
}

func (s *writer) writeSeat(ctx context.Context, d *due, w *words, p *page) error {
	if !s.cfg.Now().Before(d.params.Until) {
		return fmt.Errorf("%w: the offer ended before a server took it", errVoid)
	}
	name, err := s.cfg.Event(ctx, d.event)
	if err != nil {
		return fmt.Errorf("name event of letter: %w", err)
	}
	p.Subject = fmt.Sprintf(w.offer, name)
	p.Lead = []string{fmt.Sprintf(w.offerLead, name)}
	p.Button = w.offerButton
	if s.cfg.OrderURL != "" {
		p.Link = s.cfg.OrderURL + "?" + url.Values{"order": {d.params.Order.String()}, "key": {d.params.Key}}.Encode()
	} else {
		p.Lead = append(p.Lead, w.copyThis)
		p.Copy = []string{d.params.Order.String(), d.params.Key}
	}
	p.Notes = []string{fmt.Sprintf(w.until, moment(d.params.Until))}
	return nil
}

// writeTickets shows the tickets that are the reader's at this moment: one that was handed
// on since, cancelled or withdrawn is left out.
func (s *writer) writeTickets(ctx context.Context, d *due, w *words, p *page, l *Letter) error {
	if s.cfg.Tickets == nil {
		return fmt.Errorf("%w: this central tells nobody of tickets", errVoid)
	}
	all, err := s.cfg.Tickets(ctx, d.event, d.params.Tickets)
	if err != nil {
		return fmt.Errorf("read tickets of letter: %w", err)
	}
	var mine []int
	event := ""
	for i := range all.Tickets {
		t := &all.Tickets[i]
		if t.Void || !strings.EqualFold(t.Email, d.to) {
			continue
		}
		v := shown{Holder: t.Holder, Type: t.Type, Code: t.Code, Link: t.Link, Where: t.Venue, When: when(t)}
		if t.Code != "" {
			picture, err := drawn(t.Code)
			if err != nil {
				return err
			}
			picture.cid = "ticket-" + strconv.FormatUint(uint64(t.Number), 10) + "@" + domainOf(s.cfg.From.Address)
			picture.Name = "ticket-" + strconv.FormatUint(uint64(t.Number), 10) + ".png"
			v.Picture = template.URL("cid:" + picture.cid)
			l.Pictures = append(l.Pictures, picture)
		}
		p.Tickets, mine, event = append(p.Tickets, v), append(mine, i), t.Event
	}
	if len(mine) == 0 {
		return fmt.Errorf("%w: none of its tickets is the recipient's and valid", errVoid)
	}
	p.Subject = fmt.Sprintf(w.tickets(len(mine)), event)
	p.Lead = []string{fmt.Sprintf(w.ticketsLead(len(mine)), event)}
	p.Notes = []string{w.ticketsNote}
	if all.Files == nil {
		return nil
	}
	made, err := all.Files(mine)
	if err != nil {
		return fmt.Errorf("make files of letter: %w", err)
	}
	room := AttachmentsMax
	for _, f := range made {
		if len(f.Body) <= room {
			room -= len(f.Body)
			l.Files = append(l.Files, f)
		}
	}
	return nil
}

func drawn(code string) (File, error) {
	m, err := qrdraw.Draw(code)
	if err != nil {
		return File{}, fmt.Errorf("draw code of letter: %w", err)
	}
	var out bytes.Buffer
	if err := qrdraw.PNG(&out, m, pictureModulePx); err != nil {
		return File{}, fmt.Errorf("draw code of letter: %w", err)
	}
	return File{Type: "image/png", Body: out.Bytes()}, nil
}

// when is the beginning of a ticket's event, by the clocks there.
func when(t *Ticket) string {
	if t.StartsAt.IsZero() {
		return ""
	}
	zone, err := time.LoadLocation(t.Timezone)
	if err != nil {
		zone = time.UTC
	}
	return t.StartsAt.In(zone).Format("2006-01-02 15:04 MST")
}

// moment is a time for readers everywhere.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// headerTextMax bounds a text in a header, in characters. Go folds none without spaces, and
// RFC 5322, section 2.1.1, ends a line at 998 bytes; in a quoted name one character may take two.
const headerTextMax = 400

// oneLine is a text without what could end a line of a header, of at most headerTextMax
// characters.
func oneLine(text string) string {
	line := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))))
	if len(line) > headerTextMax {
		line = append(line[:headerTextMax-1], '…')
	}
	return string(line)
}

// phrase is a name for a header. It has no backslash: beside letters that are encoded, Go
// writes one as it is, where RFC 2047 (section 5, rule 3) allows none, and the address is
// read by nobody.
func phrase(name string) string { return strings.ReplaceAll(oneLine(name), `\`, "/") }

// checkAddress takes what a letter can go to: one address, as it stands in an envelope.
func checkAddress(address string) error {
	parsed, err := netmail.ParseAddress(address)
	if err != nil || parsed.Address != address || parsed.Name != "" || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the address is none")
	}
	return nil
}

func domainOf(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}
