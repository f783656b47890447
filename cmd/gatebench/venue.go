package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/central/pg/privatepg"
	"gatehouse/cmd/program"
	"gatehouse/syncproto"
)

// A venue is a Postgres, a central that serves from it, and the events made so
// far.
type venue struct {
	b       *bench
	dir     string
	url     string // of the database
	pg      *privatepg.Server
	pool    *pgxpool.Pool
	central *program.Server
	events  map[string]*event
	gates   int
}

// An event has tickets and, once asked for, their codes.
type event struct {
	no      syncproto.EventNo
	tickets int
}

func (e *event) id() string { return strconv.Itoa(int(e.no)) }

func openVenue(ctx context.Context, b *bench) (_ *venue, err error) {
	v := &venue{b: b, dir: filepath.Join(b.dir, "venue"), events: map[string]*event{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	if err := os.MkdirAll(v.dir, 0o711); err != nil {
		return nil, fmt.Errorf("folder for central: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if v.pg, err = privatepg.Start(ctx, privatepg.Config{Dir: v.dir, Logger: quiet}); err != nil {
		return nil, err
	}
	v.url = v.pg.URL(privatepg.Database)
	if v.pool, err = pg.Open(ctx, pg.Config{URL: v.url, Name: "gatebench"}); err != nil {
		return nil, err
	}
	v.central, err = program.Start(filepath.Join(v.dir, "central.log"), nil, v.program("central"),
		append(v.flags("serve"), "--listen", "127.0.0.1:0", "--rate-limit", "0")...)
	if err != nil {
		return nil, err
	}
	return v, v.central.Await(ctx)
}

func (v *venue) program(name string) string { return filepath.Join(v.b.bin, name) }

// flags are the words of a sub-command and where central's data is.
func (v *venue) flags(words ...string) []string {
	return append(words, "--data", filepath.Join(v.dir, "central"), "--database-url", v.url)
}

// command runs a sub-command of central.
func (v *venue) command(ctx context.Context, words ...string) (string, error) {
	return program.Output(ctx, v.program("central"), v.flags(words...)...)
}

func (v *venue) close() error {
	var errs []error
	if v.central != nil {
		errs = append(errs, v.central.Stop())
	}
	if v.pool != nil {
		v.pool.Close()
	}
	if v.pg != nil {
		errs = append(errs, v.pg.Stop())
	}
	return errors.Join(errs...)
}

// event makes an event with n tickets, or returns the one made under that name
// before.
func (v *venue) event(ctx context.Context, name string, n int) (*event, error) {
	return v.eventOf(ctx, name, n, "{}")
}

// eventOf makes it with a policy, as the event file has it.
func (v *venue) eventOf(ctx context.Context, name string, n int, policy string) (*event, error) {
	if e := v.events[name]; e != nil {
		return e, nil
	}
	v.b.progress.note(fmt.Sprintf("importing %d tickets", n))
	plan := filepath.Join(v.dir, "event.yaml")
	if err := os.WriteFile(plan, fmt.Appendf(nil, "name: %s\nticket_types: [{key: day}]\npolicy: %s\n", name, policy), 0o600); err != nil {
		return nil, fmt.Errorf("write event file: %w", err)
	}
	id, err := v.command(ctx, "event", "create", plan)
	if err != nil {
		return nil, err
	}
	no, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("event id that central printed: %w", err)
	}
	list := filepath.Join(v.dir, "tickets.csv")
	if err := writeList(list, n); err != nil {
		return nil, err
	}
	if _, err := v.command(ctx, "ticket", "import", "--event", id, list); err != nil {
		return nil, err
	}
	e := &event{no: syncproto.EventNo(no), tickets: n}
	v.events[name] = e
	return e, os.Remove(list)
}

func writeList(path string, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write ticket list: %w", err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "reference,name,email,ticket_type,status,notes")
	for i := range n {
		fmt.Fprintf(w, "B-%07d,Guest %d,guest%d@example.org,day,paid,\n", i, i, i)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write ticket list: %w", err)
	}
	return nil
}

// issued is a ticket with its code.
type issued struct {
	reference string
	code      []byte
}

// codes has central make the codes of the first n tickets, through the list
// that it prints, of which only the beginning is read.
func (v *venue) codes(ctx context.Context, e *event, n int) ([]issued, error) {
	cmd := program.Prepare(v.program("central"), v.flags("ticket", "codes", "--event", e.id())...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("list codes: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("list codes: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill() // most of the list is not wanted
		_ = cmd.Wait()
	}()
	unhook := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer unhook()
	var codes []issued
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && len(codes) < n {
		if fields := strings.Split(lines.Text(), ","); len(fields) == 3 && fields[0] != "reference" {
			codes = append(codes, issued{fields[0], []byte(fields[2])})
		}
	}
	if len(codes) < n {
		return nil, errors.Join(fmt.Errorf("central listed %d codes of %d", len(codes), n), lines.Err())
	}
	return codes, nil
}
