package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; reaching it fails the test.
const patience = 20 * time.Second

func stream() uuid.UUID { return uuid.UUID{7} }

func key(n byte) []byte { return bytes.Repeat([]byte{n}, holder.KeyBytes) }

// boxes is a replica with holders, whose reading a test can hold up or fail.
type boxes struct {
	mu   sync.Mutex
	all  []syncproto.HolderRecord
	fail error
	step chan struct{} // when not nil, each batch takes one
}

func (b *boxes) Holders(ctx context.Context, after syncproto.TicketNo) ([]syncproto.HolderRecord, bool, error) {
	if b.step != nil {
		select {
		case <-b.step:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, false, b.fail
	}
	var out []syncproto.HolderRecord
	for _, rec := range b.all {
		if rec.No > after && len(out) < 2 {
			out = append(out, rec)
		}
	}
	return out, len(out) == 2, nil
}

func sealed(t testing.TB, k byte, no syncproto.TicketNo, rev int64, name string) syncproto.HolderRecord {
	c, err := holder.New(key(k), stream())
	require.NoError(t, err)
	box, err := c.Seal(no, rev, &holder.Holder{Name: name, Reference: fmt.Sprint("R-", no)})
	require.NoError(t, err)
	return syncproto.HolderRecord{No: no, Rev: rev, Box: box}
}

// rig is a vault that runs on some boxes.
type rig struct {
	t     *testing.T
	vault *Vault
	boxes *boxes
	log   *logBook
	clock *clock
}

// logBook is what was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newRig(t *testing.T, change func(*Config), all ...syncproto.HolderRecord) *rig {
	t.Helper()
	r := &rig{t: t, boxes: &boxes{all: all}, log: &logBook{}, clock: &clock{t: time.Unix(1_700_000_000, 0)}}
	cfg := Config{Stream: stream(), Now: r.clock.now, Logger: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&cfg)
	}
	r.vault = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.vault.Run(ctx, r.boxes) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	r.vault.Renew(len(all) > 0, true)
	return r
}

// finds waits until a query gives these tickets and the reading is over.
func (r *rig) finds(query string, want ...syncproto.TicketNo) {
	r.t.Helper()
	require.EventuallyWithT(r.t, func(c *assert.CollectT) {
		f, err := r.vault.Find(query)
		require.NoError(c, err)
		require.False(c, f.Partial)
		require.Equal(c, want, f.Tickets)
	}, patience, time.Millisecond)
}

func TestNamesAreFoundWhileUnlockedAndNotOtherwise(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 3, 1, "Ada Lovelace"), sealed(t, 1, 7, 2, "Ben Lovell"), sealed(t, 1, 8, 1, "Cleo"))
	_, err := r.vault.Find("lov")
	require.ErrorIs(t, err, ErrLocked)
	_, err = r.vault.Open(r.boxes.all[0])
	require.ErrorIs(t, err, ErrLocked)
	state, names := r.vault.State()
	require.Equal(t, Locked, state)
	require.Zero(t, names)

	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("lov", 3, 7)
	r.finds("LOVE ad", 3)
	r.finds("r 8 cl", 8)
	r.finds("nobody")
	h, err := r.vault.Open(r.boxes.all[0])
	require.NoError(t, err)
	require.Equal(t, "Ada Lovelace", h.Name)
	state, names = r.vault.State()
	require.Equal(t, Unlocked, state)
	require.Equal(t, 3, names)
	for _, q := range []string{"", "a", " . ", strings.Repeat("a", QueryMax+1)} {
		_, err := r.vault.Find(q)
		require.ErrorIs(t, err, ErrQuery, "%q", q)
	}

	held, blocks := r.vault.memory.key, r.vault.memory.index.blocks
	require.NoError(t, r.vault.Lock())
	_, err = r.vault.Find("lov")
	require.ErrorIs(t, err, ErrLocked)
	require.Equal(t, make([]byte, holder.KeyBytes), held, "overwritten")
	require.NotContains(t, string(join(blocks)), "lovelace")
	require.NoError(t, r.vault.Deliver(key(1)))
	_, err = r.vault.Find("lov")
	require.ErrorIs(t, err, ErrLocked, "who locked it by hand meant it")
	log := r.log.String()
	require.Contains(t, log, "names are unlocked")
	require.Contains(t, log, "names are locked")
	require.NotContains(t, strings.ToLower(log), "lovelace")
}

func TestChangesAreLearned(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 3, 1, "Ada"), sealed(t, 1, 4, 1, "Ben"))
	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("ada", 3)
	learn := func(recs ...syncproto.HolderRecord) {
		var out []syncproto.Record
		for i := range recs {
			out = append(out, syncproto.Record{Kind: syncproto.RecordHolder, Holder: &recs[i]})
		}
		r.vault.Learn(append(out, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &syncproto.Ticket{No: 3}}))
	}
	learn(sealed(t, 1, 3, 2, "Cleo"), syncproto.HolderRecord{No: 4, Rev: 2}, sealed(t, 1, 9, 1, "Dora"))
	r.finds("ada")
	r.finds("ben")
	r.finds("cle", 3)
	r.finds("dor", 9)
	learn(sealed(t, 1, 3, 1, "Ada"), sealed(t, 1, 4, 1, "Ben"))
	r.finds("ada")
	r.finds("ben")

	// A central that was set back has other revisions: a new file replaces everything.
	r.boxes.mu.Lock()
	r.boxes.all = []syncproto.HolderRecord{sealed(t, 1, 3, 1, "Ada")}
	r.boxes.mu.Unlock()
	r.vault.Renew(true, true)
	r.finds("ada", 3)
	r.finds("dor")
}

// Boxes that do not open cost their own tickets and nobody else's.
func TestHostileBoxesAreLeftOut(t *testing.T) {
	t.Parallel()
	swapped := sealed(t, 1, 5, 1, "Mallory")
	swapped.No = 6
	old := sealed(t, 1, 7, 1, "Mallory")
	old.Rev = 2
	r := newRig(t, nil, sealed(t, 1, 1, 1, "Ada"), sealed(t, 2, 2, 1, "Mallory"), syncproto.HolderRecord{No: 4, Rev: 1, Box: []byte("noise")},
		swapped, old, sealed(t, 1, 8, 1, "Ben"))
	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("ada", 1)
	r.finds("ben", 8)
	r.finds("mallory")
	require.Equal(t, 1, strings.Count(r.log.String(), "a holder's box cannot be opened"))
	require.Contains(t, r.log.String(), "unreadable=4")
}

func TestKeysThatAreNoneChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 1, 1, "Ada"))
	for _, k := range [][]byte{nil, {}, key(1)[1:], append(key(1), 1)} {
		require.Error(t, r.vault.Deliver(k))
	}
	state, _ := r.vault.State()
	require.Equal(t, Locked, state)
	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("ada", 1)
	require.Error(t, r.vault.Deliver([]byte("short")))
	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("ada", 1)
	require.Equal(t, 1, strings.Count(r.log.String(), "names are unlocked"), "a hello that is said again unlocks nothing anew")
}

func TestASearchSaysThatNamesAreMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.boxes.step = make(chan struct{})
	r.vault.Renew(true, false)
	require.NoError(t, r.vault.Deliver(key(1)))
	f, err := r.vault.Find("ada")
	require.NoError(t, err)
	require.True(t, f.Partial)
	close(r.boxes.step)
	rec := sealed(t, 1, 1, 1, "Ada")
	r.vault.Learn([]syncproto.Record{{Kind: syncproto.RecordHolder, Holder: &rec}})
	f, err = r.vault.Find("ada")
	require.NoError(t, err)
	require.Equal(t, Found{Tickets: []syncproto.TicketNo{1}, Partial: true}, f, "the replica has not got all of them")
	r.vault.Whole()
	r.finds("ada", 1)
}

// A replica that fails is read again when it works.
func TestReadingIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 1, 1, "Ada"))
	r.boxes.mu.Lock()
	r.boxes.fail = errors.New("no replica")
	r.boxes.mu.Unlock()
	require.NoError(t, r.vault.Deliver(key(1)))
	r.boxes.mu.Lock()
	r.boxes.fail = nil
	r.boxes.mu.Unlock()
	r.finds("ada", 1)
}

func wrapped(t testing.TB, passphrase string, rev int64) syncproto.Record {
	w := &syncproto.VaultWrap{KDF: holder.KDF, Salt: make([]byte, 16), Time: 1, MemoryKiB: holder.WrapMemoryMinKiB, Threads: 1}
	derived := argon2.IDKey([]byte(passphrase), w.Salt, w.Time, w.MemoryKiB, w.Threads, holder.KeyBytes)
	require.NoError(t, holder.WrapKey(derived, stream(), key(1), w, rand.Reader))
	return syncproto.Record{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: rev, Wrap: w}}
}

func TestAPassphraseUnlocks(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 1, 1, "Ada"))
	require.ErrorIs(t, r.vault.UnlockWith(t.Context(), "correct horse"), ErrNoWrap)
	r.vault.Learn([]syncproto.Record{wrapped(t, "correct horse", 3)})
	r.vault.Learn([]syncproto.Record{wrapped(t, "an older one", 2)})
	require.ErrorIs(t, r.vault.UnlockWith(t.Context(), "an older one"), holder.ErrPassphrase)
	require.NoError(t, r.vault.UnlockWith(t.Context(), "correct horse"))
	r.finds("ada", 1)
	require.NoError(t, r.vault.Lock())
	require.NoError(t, r.vault.UnlockWith(t.Context(), "correct horse"), "a supervisor undoes what was done by hand")
	r.finds("ada", 1)
	log := r.log.String()
	require.Contains(t, log, "a wrong passphrase was given")
	require.NotContains(t, log, "horse")
	r.vault.Learn([]syncproto.Record{{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: 9}}})
	require.ErrorIs(t, r.vault.UnlockWith(t.Context(), "correct horse"), ErrNoWrap, "withdrawn by the organiser")
}

func TestWrongPassphrasesWaitLongerAndLonger(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, sealed(t, 1, 1, 1, "Ada"))
	r.vault.Learn([]syncproto.Record{wrapped(t, "correct horse", 1)})
	wrong := func() error { return r.vault.UnlockWith(t.Context(), "wrong") }
	for range triesFree {
		require.ErrorIs(t, wrong(), holder.ErrPassphrase)
	}
	pause := tryPauseFirst
	for range 12 {
		var waits *PauseError
		require.ErrorAs(t, wrong(), &waits)
		require.Equal(t, pause, waits.Wait)
		require.ErrorAs(t, r.vault.UnlockWith(t.Context(), "correct horse"), &waits, "the right one is not tried either")
		r.clock.add(pause)
		require.ErrorIs(t, wrong(), holder.ErrPassphrase)
		pause = min(2*pause, tryPauseMax)
	}
	require.Equal(t, tryPauseMax, pause)
	r.clock.add(-time.Hour) // a clock that was put back locks nobody out for longer
	var waits *PauseError
	require.ErrorAs(t, wrong(), &waits)
	require.LessOrEqual(t, waits.Wait, tryPauseMax)
	r.clock.add(time.Hour + tryPauseMax)
	require.NoError(t, r.vault.UnlockWith(t.Context(), "correct horse"))
	require.NoError(t, r.vault.Lock())
	require.ErrorIs(t, wrong(), holder.ErrPassphrase, "the right one forgave the others")
	require.ErrorIs(t, r.vault.UnlockWith(t.Context(), strings.Repeat("x", PassphraseMax+1)), holder.ErrPassphrase)
}

func TestHostileWrapsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	huge := wrapped(t, "correct horse", 1)
	huge.Vault.Wrap.MemoryKiB = 1 << 31
	r.vault.Learn([]syncproto.Record{huge})
	require.Error(t, r.vault.UnlockWith(t.Context(), "correct horse"))
	state, _ := r.vault.State()
	require.Equal(t, Locked, state)
}

func TestAWithdrawnGateForgetsAtOnce(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	keep, device := newKeep(t, dir)
	r := newRig(t, func(c *Config) { c.Keep = keep }, sealed(t, 1, 1, 1, "Ada"))
	r.vault.Learn([]syncproto.Record{wrapped(t, "correct horse", 1)})
	require.NoError(t, r.vault.Deliver(key(1)))
	r.finds("ada", 1)
	require.FileExists(t, filepath.Join(dir, "gatehouse-"+device.String()+".vault"))
	require.NoError(t, r.vault.Withdraw())
	require.NoFileExists(t, filepath.Join(dir, "gatehouse-"+device.String()+".vault"))
	_, err := r.vault.Find("ada")
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorIs(t, r.vault.UnlockWith(t.Context(), "correct horse"), ErrWithdrawn)
	require.NoError(t, r.vault.Deliver(key(1)), "central took it back")
	r.finds("ada", 1)

	// Switched off and on, it still is withdrawn, and finds nothing that was left.
	require.NoError(t, keep.save(key(1)))
	again := New(Config{Stream: stream(), Now: time.Now, Keep: keep, Withdrawn: true})
	state, _ := again.State()
	require.Equal(t, None, state)
	left, err := keep.load()
	require.NoError(t, err)
	require.Nil(t, left)
}

// memoryDir is a folder on a memory file system.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gatehouse-vault-test-") //nolint:usetesting // t.TempDir is on a disk
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func newKeep(t *testing.T, dir string) (*Keep, uuid.UUID) {
	t.Helper()
	private, public, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	device := uuid.New()
	k, err := NewKeep(dir, device, private, public)
	require.NoError(t, err)
	return k, device
}

func TestAKeyIsCarriedOverARestart(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	keep, device := newKeep(t, dir)
	require.NoError(t, New(Config{Stream: stream(), Now: time.Now, Keep: keep}).Deliver(key(1)))
	file := filepath.Join(dir, "gatehouse-"+device.String()+".vault")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(raw), string(key(1)), "without the box key on the disk it is noise")

	next := New(Config{Stream: stream(), Now: time.Now, Keep: keep})
	state, _ := next.State()
	require.Equal(t, Unlocked, state)
	require.NoError(t, next.Lock())
	require.NoFileExists(t, file)

	other, _ := newKeep(t, dir)
	other.path = file
	require.NoError(t, keep.save(key(1)))
	_, err = other.load()
	require.Error(t, err, "another gate's box key")
}

// A folder for temporary files is everybody's: what others put there is not taken.
func TestWhatOthersLeftIsNotAKey(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	keep, _ := newKeep(t, dir)
	require.NoError(t, keep.save(key(1)))
	good, err := os.ReadFile(keep.path)
	require.NoError(t, err)
	for name, plant := range map[string]func(){
		"mode": func() {
			require.NoError(t, os.WriteFile(keep.path, good, 0o644))
			require.NoError(t, os.Chmod(keep.path, 0o644))
		},
		"garbage": func() { require.NoError(t, os.WriteFile(keep.path, []byte("garbage"), 0o600)) },
		"empty":   func() { require.NoError(t, os.WriteFile(keep.path, nil, 0o600)) },
		"large":   func() { require.NoError(t, os.WriteFile(keep.path, make([]byte, keptMax+1), 0o600)) },
		"folder":  func() { require.NoError(t, os.Mkdir(keep.path, 0o700)) },
		"fifo":    func() { require.NoError(t, unix.Mkfifo(keep.path, 0o600)) },
		"link": func() {
			elsewhere := keep.path + ".elsewhere"
			require.NoError(t, os.WriteFile(elsewhere, good, 0o600))
			require.NoError(t, os.Symlink(elsewhere, keep.path))
		},
	} {
		require.NoError(t, os.RemoveAll(keep.path))
		plant()
		log := &logBook{}
		v := New(Config{Stream: stream(), Now: time.Now, Keep: keep, Logger: slog.New(slog.NewTextHandler(log, nil))})
		state, _ := v.State()
		require.Equal(t, None, state, name)
		require.Contains(t, log.String(), "cannot be used", name)
	}
}

func TestAKeyIsNotKeptOnADisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	if st.Type == unix.TMPFS_MAGIC {
		dir = "/proc" // any file system that is not in memory will do
	}
	_, err := NewKeep(dir, uuid.New(), nil, nil)
	require.ErrorContains(t, err, "is not on a memory file system")
	_, err = NewKeep(filepath.Join(dir, "nowhere"), uuid.New(), nil, nil)
	require.ErrorContains(t, err, "--vault-dir")
}
