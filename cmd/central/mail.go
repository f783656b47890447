package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/central/notify"
)

// mailFlags say how letters are sent.
type mailFlags struct {
	server, password, from string
	lang, account          string
}

func (f *mailFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.server, "smtp-url", "", "mail server that takes letters: smtp://user@mail.example.org:587, which has to offer STARTTLS, or\nsmtps://user@mail.example.org:465; ?starttls=never sends what others can read (default: no letters are sent)")
	flags.StringVar(&f.password, "smtp-password-file", "", "file with the password of the user in --smtp-url")
	flags.StringVar(&f.from, "mail-from", "", "whom letters are from: 'Fair <tickets@fair.example>' (required with --smtp-url)")
	flags.StringVar(&f.lang, "mail-lang", notify.English, "language of letters: en or ar")
	flags.StringVar(&f.account, "account-url", "", "page of your own for letters about accounts; it gets #verify=TOKEN or #reset=TOKEN\n(default: central's, under --public-url)")
}

// config reads what the flags name. back is where buyers see an order.
func (f *mailFlags) config(back string) (notify.Settings, error) {
	cfg := notify.Settings{Lang: f.lang, AccountURL: f.account, OrderURL: back}
	if f.server == "" {
		if f.password != "" || f.from != "" || f.account != "" {
			return cfg, misused("--smtp-password-file, --mail-from and --account-url are of no use without --smtp-url")
		}
		return cfg, nil
	}
	server, err := notify.ParseSMTP(f.server)
	if err != nil {
		return cfg, misused("--smtp-url: %w", err)
	}
	from, err := mail.ParseAddress(f.from)
	if err != nil {
		return cfg, misused("--mail-from %q is not an address such as 'Fair <tickets@fair.example>'", f.from)
	}
	cfg.From = *from
	if f.lang != notify.English && f.lang != notify.Arabic {
		return cfg, misused("--mail-lang %q: it must be en or ar", f.lang)
	}
	if u, err := url.Parse(f.account); f.account != "" && (err != nil || u.Host == "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https") {
		return cfg, misused("--account-url %q is not a URL such as https://tickets.example.org/account", f.account)
	}
	if (server.User == "") != (f.password == "") {
		return cfg, misused("a user in --smtp-url and --smtp-password-file belong together: give both")
	}
	if f.password != "" {
		if server.Password, err = secretFile(f.password); err != nil {
			return cfg, err
		}
	}
	sender, err := notify.NewSMTP(server)
	if err != nil {
		return cfg, err
	}
	cfg.Sender = sender
	return cfg, nil
}

func mailCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "mail",
		Short:   "See what became of letters, and have them sent again",
		Example: "  central mail list --data /var/lib/gatehouse --state failed",
	})
	c.AddCommand(mailListCommand(a), mailShowCommand(a), mailRetryCommand(a))
	return c
}

func mailListCommand(a *app) *cobra.Command {
	var (
		w     where
		f     notify.Filter
		state string
	)
	c := &cobra.Command{
		Use:   "list --data DIR",
		Short: "List letters, the newest first",
		Long: fmt.Sprintf(`List letters, the newest first, %d at the most: those that wait (queued), those that the
mail server has taken (sent), and those that were given up (failed). Letters that
ended are forgotten after %d days. Above the table it says whether the mail server is
away, and since when.`, notify.ListMax, int(notify.KeepFor.Hours()/24)),
		Example: "  central mail list --data /var/lib/gatehouse --state failed\n  central mail list --data /var/lib/gatehouse --to ada@example.org",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch f.State = notify.State(state); f.State {
			case "", notify.Queued, notify.Sent, notify.Failed:
			default:
				return misused("--state %q: it must be queued, sent or failed", state)
			}
			return a.with(c.Context(), &w, func(s *session) error {
				list, err := s.Notify.Desk.List(c.Context(), f)
				if err != nil {
					return err
				}
				server, err := s.Notify.Desk.Server(c.Context())
				if err != nil {
					return err
				}
				return writeLetters(a.out, list, server)
			})
		},
	}
	w.add(c)
	c.Flags().StringVar(&state, "state", "", "only those that are queued, sent or failed")
	c.Flags().StringVar(&f.To, "to", "", "only those to this address")
	return c
}

// writeLetters writes a table for people.
func writeLetters(w io.Writer, list []notify.Mail, server notify.Server) error {
	if !server.DownSince.IsZero() {
		fmt.Fprintf(w, "the mail server takes nothing since %s; tried last %s: %s\n\n", minute(server.DownSince), minute(server.TriedAt), printable(server.Error))
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "ID\tSTATE\tKIND\tTO\tQUEUED\tTRIES\tENDED\tNEXT\tERROR\n")
	for i := range list {
		m := &list[i]
		next := m.NextAt
		if m.State != notify.Queued {
			next = time.Time{}
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", m.ID, m.State, m.Kind, printable(m.To), minute(m.CreatedAt), m.Tries, minute(m.EndedAt), minute(next), orDash(printable(m.Error)))
	}
	return out.Flush()
}

// minute is a time in a table.
func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// printable is somebody else's text without what a terminal would do something for.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

func mailShowCommand(a *app) *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:     "show --data DIR ID",
		Short:   "Show what became of a letter",
		Long:    "Show what became of a letter, without what it was made of.",
		Example: "  central mail show --data /var/lib/gatehouse 01976a3e-0a5b-7c3d-8e2f-112233445566",
		Args:    arguments("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLetter(c.Context(), &w, args[0], func(s *session, id uuid.UUID) error {
				m, err := s.Notify.Desk.Get(c.Context(), id)
				if err != nil {
					return err
				}
				out := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				for _, row := range [][2]string{
					{"id", m.ID.String()},
					{"state", string(m.State)},
					{"kind", string(m.Kind)},
					{"to", m.To},
					{"name", m.Name},
					{"language", m.Lang},
					{"event", eventText(m)},
					{"queued", minute(m.CreatedAt)},
					{"tries", fmt.Sprint(m.Tries)},
					{"next", nextText(m)},
					{"ended", minute(m.EndedAt)},
					{"error", m.Error},
				} {
					fmt.Fprintf(out, "%s\t%s\n", row[0], orDash(printable(row[1])))
				}
				return out.Flush()
			})
		},
	}
	w.add(c)
	return c
}

func eventText(m notify.Mail) string {
	if m.Event == 0 {
		return ""
	}
	return fmt.Sprint(m.Event)
}

func nextText(m notify.Mail) string {
	if m.State != notify.Queued {
		return ""
	}
	return minute(m.NextAt)
}

func mailRetryCommand(a *app) *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "retry --data DIR ID",
		Short: "Have a letter sent that waits or was given up",
		Long: `Have a letter sent now by a serving central, with all its tries before it: one that
waits for its next try, or one about tickets that was given up. What a letter with a
link was made of is not kept when it is given up; another one has to be asked for. A
letter that is being sent at this moment goes twice, as one for mail programs.`,
		Example: "  central mail retry --data /var/lib/gatehouse 01976a3e-0a5b-7c3d-8e2f-112233445566",
		Args:    arguments("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLetter(c.Context(), &w, args[0], func(s *session, id uuid.UUID) error {
				return s.Notify.Desk.Retry(c.Context(), id)
			})
		},
	}
	w.add(c)
	return c
}

// withLetter runs work on the letter of an id.
func (a *app) withLetter(ctx context.Context, w *where, text string, work func(s *session, id uuid.UUID) error) error {
	id, err := uuid.Parse(text)
	if err != nil {
		return misused("%q is not the id of a letter as central mail list prints it", text)
	}
	return a.with(ctx, w, func(s *session) error {
		err := work(s, id)
		if errors.Is(err, notify.ErrNoLetter) {
			return fmt.Errorf("%w of the id %s; central mail list has them", err, id)
		}
		return err
	})
}
