package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func userCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "user",
		Short:   "Make accounts for people, and say what they may do",
		Example: "  central user create --data /var/lib/gatehouse --email ada@example.org --role admin",
	})
	c.AddCommand(userCreateCommand(a), userListCommand(a), userRoleCommand(a), userPasswordCommand(a),
		userStateCommand(a, "disable", "Let nobody in with an account, and end its sign-ins", `Let nobody in with an account. Its sign-ins end at once, at every copy of central within
seconds, and so do API keys that it made. central user enable takes it back. The last
admin cannot be disabled.`, (*staff.Accounts).Disable),
		userStateCommand(a, "enable", "Let people in with an account again", `Let people in with an account that was disabled. They sign in anew; API keys that the
account made are good again.`, (*staff.Accounts).Enable))
	return c
}

// userFlags say which account a command is about, and what it is to be.
type userFlags struct {
	where
	email, name, role string
	events            []uint
	fromInput         bool
}

func (f *userFlags) addEmail(c *cobra.Command) {
	f.add(c)
	c.Flags().StringVar(&f.email, "email", "", "e-mail address of the account (required)")
	needs(c, "email")
}

func (f *userFlags) addRole(c *cobra.Command) {
	c.Flags().StringVar(&f.role, "role", "", "admin, organiser, supervisor, gate_staff or attendee (required)")
	c.Flags().UintSliceVar(&f.events, "event", nil, "number of an event that the role is for; once for each")
	needs(c, "role")
}

func (f *userFlags) addPassword(c *cobra.Command) {
	c.Flags().BoolVar(&f.fromInput, "password-stdin", false, "take the password from the first line of standard input, instead of printing one")
}

// grant is what the flags say that the account may do.
func (f *userFlags) grant() (staff.Role, []syncproto.EventNo, error) {
	role := staff.Role(strings.ReplaceAll(f.role, "-", "_"))
	if !role.Known() {
		return "", nil, misused("--role %q: it must be admin, organiser, supervisor, gate_staff or attendee", f.role)
	}
	if len(f.events) > 0 && !role.PerEvent() {
		return "", nil, misused("--event is for organiser, supervisor and gate_staff: the role %s is not given for single events", role)
	}
	events := make([]syncproto.EventNo, len(f.events))
	for i, e := range f.events {
		if events[i] = syncproto.EventNo(e); e == 0 || uint(events[i]) != e {
			return "", nil, misused("--event %d is not the number of an event", e)
		}
	}
	return role, events, nil
}

// password is what is to be the password: the first line of standard input, or a new
// one, which is then to be printed.
func (a *app) password(f *userFlags) (password string, printed bool, err error) {
	if !f.fromInput {
		password, err = staff.GeneratePassword(rand.Reader)
		return password, true, err
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, staff.PasswordMax+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, fmt.Errorf("read password: %w", err)
	}
	password = strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", false, misused("--password-stdin: there is no password on the first line of standard input")
	}
	return password, false, nil
}

func userCreateCommand(a *app) *cobra.Command {
	f := userFlags{where: where{makes: true}}
	c := &cobra.Command{
		Use:   "create --data DIR --email E --role ROLE [--name N] [--event ID] [--password-stdin]",
		Short: "Make an account, and print its password",
		Long: `Make an account, and print the password that it was given. With --password-stdin the
password is the first line of standard input, and nothing is printed.

admin: everything, everywhere.
organiser: everything about the events given with --event.
supervisor: watches them: attendance, findings, gates, tickets; checks people in.
gate_staff: checks people in, and sees attendance and tickets.
attendee: their own account and tickets.`,
		Example: "  central user create --data /var/lib/gatehouse --email ada@example.org --name Ada --role admin\n  central user create --data /var/lib/gatehouse --email bob@example.org --role gate_staff --event 1 --password-stdin <password.txt",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			role, events, err := f.grant()
			if err != nil {
				return err
			}
			// Before a central is begun for it.
			if _, err := staff.ParseEmail(f.email); err != nil {
				return misused("--email %q: give an address such as ada@example.org", f.email)
			}
			password, printed, err := a.password(&f)
			if err != nil {
				return err
			}
			return a.with(c.Context(), &f.where, func(s *session) error {
				_, err := s.Staff.Accounts.Create(c.Context(), staff.CommandLine(), staff.NewAccount{
					Email: f.email, Name: f.name, Role: role, Events: events, Password: password,
				})
				return a.finish(err, password, printed)
			})
		},
	}
	f.addEmail(c)
	f.addRole(c)
	f.addPassword(c)
	c.Flags().StringVar(&f.name, "name", "", "what the person is called")
	return c
}

// finish prints a password that was made, once it is stored.
func (a *app) finish(err error, password string, printed bool) error {
	if err == nil && printed {
		_, err = fmt.Fprintln(a.out, password)
	}
	return err
}

func userListCommand(a *app) *cobra.Command {
	var (
		w      where
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "list --data DIR",
		Short: "List the accounts",
		Long: `List the accounts, the oldest first. With --json each is one JSON object on a line of
its own.`,
		Example: "  central user list --data /var/lib/gatehouse\n  central user list --data /var/lib/gatehouse --json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if asJSON {
					encoder := json.NewEncoder(a.out)
					return eachUser(c.Context(), s, func(one *staff.Account) error { return encoder.Encode(one) })
				}
				out := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(out, "EMAIL\tNAME\tROLE\tEVENTS\tSTATE\tCREATED")
				err := eachUser(c.Context(), s, func(one *staff.Account) error {
					_, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", one.Email, orDash(one.Name), one.Role, eventsText(one), userState(one), stamp(one.CreatedAt))
					return err
				})
				return errors.Join(err, out.Flush())
			})
		},
	}
	w.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON objects, one a line")
	return c
}

// eachUser calls fn with each account, page by page.
func eachUser(ctx context.Context, s *session, fn func(*staff.Account) error) error {
	for after := uuid.Nil; ; {
		page, err := s.Staff.Accounts.List(ctx, staff.AccountFilter{After: after})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}

func eventsText(one *staff.Account) string {
	switch {
	case one.Role == staff.Admin:
		return "all"
	case len(one.Events) == 0:
		return "-"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(one.Events), " ", ","), "[]")
}

func userState(one *staff.Account) string {
	if !one.DisabledAt.IsZero() {
		return "disabled"
	}
	return "enabled"
}

func userRoleCommand(a *app) *cobra.Command {
	var f userFlags
	c := &cobra.Command{
		Use:   "role --data DIR --email E --role ROLE [--event ID]",
		Short: "Give an account another role",
		Long: `Give an account this role, for exactly the events that --event gives: those that it had
before and that are not given again are taken away. It counts at once, also for whoever
is signed in. The last admin stays one.`,
		Example: "  central user role --data /var/lib/gatehouse --email bob@example.org --role organiser --event 1 --event 2",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			role, events, err := f.grant()
			if err != nil {
				return err
			}
			return a.withUser(c.Context(), &f, func(s *session, one staff.Account) error {
				_, err := s.Staff.Accounts.SetRole(c.Context(), staff.CommandLine(), one.ID, role, events)
				return err
			})
		},
	}
	f.addEmail(c)
	f.addRole(c)
	return c
}

func userPasswordCommand(a *app) *cobra.Command {
	var f userFlags
	c := &cobra.Command{
		Use:   "password --data DIR --email E [--password-stdin]",
		Short: "Give an account another password, and end its sign-ins",
		Long: `Give an account another password and print it; with --password-stdin it is the first line
of standard input, and nothing is printed. All sign-ins of the account end, and wrong
tries are forgotten, so that its owner gets in also where somebody has locked it.`,
		Example: "  central user password --data /var/lib/gatehouse --email bob@example.org\n  central user password --data /var/lib/gatehouse --email bob@example.org --password-stdin <password.txt",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			password, printed, err := a.password(&f)
			if err != nil {
				return err
			}
			return a.withUser(c.Context(), &f, func(s *session, one staff.Account) error {
				return a.finish(s.Staff.Accounts.SetPassword(c.Context(), staff.CommandLine(), one.ID, password), password, printed)
			})
		},
	}
	f.addEmail(c)
	f.addPassword(c)
	return c
}

// setUserState is Disable or Enable.
type setUserState func(s *staff.Accounts, ctx context.Context, by staff.Principal, id uuid.UUID) (staff.Account, error)

func userStateCommand(a *app, name, short, long string, set setUserState) *cobra.Command {
	var f userFlags
	c := &cobra.Command{
		Use:     name + " --data DIR --email E",
		Short:   short,
		Long:    long,
		Example: "  central user " + name + " --data /var/lib/gatehouse --email bob@example.org",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withUser(c.Context(), &f, func(s *session, one staff.Account) error {
				_, err := set(s.Staff.Accounts, c.Context(), staff.CommandLine(), one.ID)
				return err
			})
		},
	}
	f.addEmail(c)
	return c
}

// withUser runs work on an open central and the account that the flags name.
func (a *app) withUser(ctx context.Context, f *userFlags, work func(s *session, one staff.Account) error) error {
	return a.with(ctx, &f.where, func(s *session) error {
		one, err := s.Staff.Accounts.ByEmail(ctx, f.email)
		if err != nil {
			return fmt.Errorf("%s: %w", f.email, err)
		}
		return work(s, one)
	})
}
