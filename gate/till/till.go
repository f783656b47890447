// Package till keeps what a gate that sells tickets must not forget and must not
// read: who they were sold to, sealed so that only central opens it, until central
// has acknowledged it; and, in memory that does not outlive the box's run, how far
// the journal had come, so that a disk that was set back is noticed.
//
// Nothing personal is on the disk in the clear, and nothing here decides: a sale is
// in the journal before its names come here.
package till

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// SalesMax bounds the sealed sales that wait for central. Beyond it a sale goes on
// without its names.
const SalesMax = 5_000

// ErrFull means that SalesMax sales wait for central.
var ErrFull = fmt.Errorf("names of %d sales wait for central, which is the most", SalesMax)

const fileSuffix = ".sealed"

// Till keeps sealed sales in a folder, a file each. It is used by one gate process
// at a time; its methods may be called concurrently for different tickets.
type Till struct{ dir string }

// Open makes the folder.
func Open(dir string) (*Till, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for sealed sales: %w", err)
	}
	return &Till{dir: dir}, nil
}

func (t *Till) path(n syncproto.TicketNo) string {
	return filepath.Join(t.dir, strconv.FormatUint(uint64(n), 10)+fileSuffix)
}

// Seal encrypts a sale so that only central reads it.
func Seal(key *syncproto.SignedKey, d syncproto.SaleDetails) (syncproto.SealedSale, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false) // a name of brackets must not grow past what central takes
	if err := enc.Encode(d); err != nil {
		return syncproto.SealedSale{}, fmt.Errorf("encode sale: %w", err)
	}
	sealed, err := syncproto.SealTo(key.Public, syncproto.PurposeWalkUp, plain.Bytes())
	if err != nil {
		return syncproto.SealedSale{}, fmt.Errorf("seal sale: %w", err)
	}
	return syncproto.SealedSale{Ticket: d.Ticket, Key: key.ID, Sealed: sealed}, nil
}

// Put keeps a sealed sale until Remove. It is on the disk when Put returns.
func (t *Till) Put(s syncproto.SealedSale) error {
	numbers, err := t.numbers()
	if err != nil {
		return err
	}
	if len(numbers) >= SalesMax {
		return ErrFull
	}
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode sealed sale: %w", err)
	}
	if err := renameio.WriteFile(t.path(s.Ticket), body, 0o600); err != nil {
		return fmt.Errorf("keep sealed sale: %w", err)
	}
	return t.sync()
}

// sync makes the names of files durable.
func (t *Till) sync() error {
	d, err := os.Open(t.dir)
	if err != nil {
		return fmt.Errorf("folder of sealed sales: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("folder of sealed sales: %w", err)
	}
	return nil
}

// Next are the oldest sales that wait for central, by number, at most
// syncproto.WalkUpSalesMax after one. A file that cannot be read is passed over.
func (t *Till) Next(after syncproto.TicketNo) ([]syncproto.SealedSale, error) {
	numbers, err := t.numbers()
	if err != nil {
		return nil, err
	}
	var out []syncproto.SealedSale
	for _, n := range numbers {
		var s syncproto.SealedSale
		if n <= after || len(out) == syncproto.WalkUpSalesMax {
			continue
		}
		body, err := os.ReadFile(t.path(n))
		if err == nil && json.Unmarshal(body, &s) == nil && s.Ticket == n && len(s.Sealed) <= syncproto.SealedSaleMax {
			out = append(out, s)
		}
	}
	return out, nil
}

// Waiting is how many sales wait for central.
func (t *Till) Waiting() int {
	numbers, err := t.numbers()
	if err != nil {
		return 0
	}
	return len(numbers)
}

// Remove forgets a sale.
func (t *Till) Remove(n syncproto.TicketNo) error {
	if err := os.Remove(t.path(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget sealed sale: %w", err)
	}
	return nil
}

func (t *Till) numbers() ([]syncproto.TicketNo, error) {
	files, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, fmt.Errorf("list sealed sales: %w", err)
	}
	var out []syncproto.TicketNo
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), fileSuffix)
		if n, err := strconv.ParseUint(name, 10, 31); ok && err == nil {
			out = append(out, syncproto.TicketNo(n))
		}
	}
	slices.SortFunc(out, func(a, b syncproto.TicketNo) int { return cmp.Compare(a, b) })
	return out, nil
}

// VolatileDir is where Marks are kept: it is memory, so it is in no image of a
// disk, and gone when the box was off.
const VolatileDir = "/dev/shm"

// Mark remembers, for as long as the box runs, up to where a gate's journal is
// known to be whole. A journal that does not reach it was set back.
type Mark struct{ path string }

// NewMark is the mark of a device in a volatile folder.
func NewMark(dir string, device uuid.UUID) Mark {
	return Mark{path: filepath.Join(dir, "gatehouse-"+device.String()+"-"+strconv.Itoa(os.Getuid()))}
}

// Set moves the mark.
func (m Mark) Set(r syncproto.Ref) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("mark of the journal: %w", err)
	}
	if err := renameio.WriteFile(m.path, body, 0o600); err != nil {
		return fmt.Errorf("mark of the journal: %w", err)
	}
	return nil
}

// Clear removes the mark.
func (m Mark) Clear() error {
	if err := os.Remove(m.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mark of the journal: %w", err)
	}
	return nil
}

// Get reads the mark; ok is false where there is none that this user made.
func (m Mark) Get() (r syncproto.Ref, ok bool) {
	info, err := os.Lstat(m.path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return r, false
	}
	if owner, known := info.Sys().(*syscall.Stat_t); !known || int(owner.Uid) != os.Getuid() {
		return r, false
	}
	body, err := os.ReadFile(m.path)
	return r, err == nil && json.Unmarshal(body, &r) == nil && !r.IsZero()
}
