package serialscan_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tarm/serial"
	"go.uber.org/goleak"

	"gatehouse/hardware"
	"gatehouse/hardware/hardwaretest"
	"gatehouse/hardware/serialscan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// newScanner makes a scanner on the path with short retries.
func newScanner(t *testing.T, path string, change func(*serialscan.Config)) *serialscan.Scanner {
	cfg := serialscan.Config{Device: path, RetryMin: 5 * time.Millisecond, RetryMax: 20 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	scanner, err := serialscan.New(cfg)
	require.NoError(t, err)
	return scanner
}

// startUp makes a scanner on a new port and returns both when it is up.
func startUp(t *testing.T, change func(*serialscan.Config)) (*hardwaretest.Port, *serialscan.Scanner, <-chan hardware.Read) {
	port := hardwaretest.NewPort(t)
	scanner := newScanner(t, port.Path(), change)
	reads := hardwaretest.Start(t, scanner, 16)
	hardwaretest.WaitState(t, scanner, hardware.StateUp)
	return port, scanner, reads
}

// runUntil runs scanner until stop is called; stopped closes once it ended.
func runUntil(t *testing.T, scanner *serialscan.Scanner) (stop func(), stopped <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, scanner.Run(ctx, make(chan hardware.Read, 1)))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return cancel, done
}

// tarm opens real ports, for tests that wrap them.
func tarm(device string, baud int) (io.ReadWriteCloser, error) {
	return serial.OpenPort(&serial.Config{Name: device, Baud: baud, ReadTimeout: 100 * time.Millisecond})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	hardwaretest.TestScanner(t, func(t *testing.T) (hardware.Scanner, hardwaretest.Device) {
		port := hardwaretest.NewPort(t)
		return newScanner(t, port.Path(), nil), port
	})
}

func TestEverySuffixOnARealTTY(t *testing.T) {
	t.Parallel()
	port, scanner, reads := startUp(t, nil)
	for _, suffix := range []string{"\r", "\n", "\r\n", "\t"} {
		port.Write("]Q1PLAIN" + suffix)
		require.Equal(t, "PLAIN", string(hardwaretest.Next(t, reads).Raw), "suffix %q", suffix)
		port.Write("SPL")
		port.Write("IT" + suffix + "GLU")
		port.Write("ED" + suffix)
		require.Equal(t, "SPLIT", string(hardwaretest.Next(t, reads).Raw), "suffix %q", suffix)
		require.Equal(t, "GLUED", string(hardwaretest.Next(t, reads).Raw), "suffix %q", suffix)
	}
	require.Empty(t, reads)
	require.Zero(t, scanner.Status().Dropped)
}

func TestGarbageIsHandedOverAndCounted(t *testing.T) {
	t.Parallel()
	port, scanner, reads := startUp(t, nil)
	port.Write("\x00\xff\x11\r")
	port.Write(strings.Repeat("X", 3000) + "\r")
	port.Write("\x13\x03\x1a\x04\x7f\xff\r")
	port.Send("GOOD")
	require.Equal(t, "\x13\x03\x1a\x04\x7f\xff", string(hardwaretest.Next(t, reads).Raw))
	require.Equal(t, "GOOD", string(hardwaretest.Next(t, reads).Raw))
	require.Eventually(t, func() bool {
		status := scanner.Status()
		return status.Frames == 2 && status.Noisy == 1 && status.Dropped == hardware.Dropped{Noise: 1, Long: 1}
	}, patience, time.Millisecond)
}

func TestAStalePartialIsDropped(t *testing.T) {
	t.Parallel()
	port, scanner, reads := startUp(t, func(cfg *serialscan.Config) { cfg.Stale = 200 * time.Millisecond })
	port.Write("HALF")
	require.Eventually(t, func() bool { return scanner.Status().Dropped.Partial == 1 }, patience, time.Millisecond)
	port.Send("WHOLE")
	require.Equal(t, "WHOLE", string(hardwaretest.Next(t, reads).Raw))
}

func TestAPartialIsDroppedWithItsPlug(t *testing.T) {
	t.Parallel()
	port, scanner, reads := startUp(t, nil)
	port.Send("FIRST")
	port.Write("HALF")
	hardwaretest.Next(t, reads)
	port.Unplug()
	hardwaretest.WaitState(t, scanner, hardware.StateAbsent)
	port.Replug()
	hardwaretest.WaitState(t, scanner, hardware.StateUp)
	port.Send("WHOLE")
	require.Equal(t, "WHOLE", string(hardwaretest.Next(t, reads).Raw))
}

func TestWhatWasBufferedBeforeOpeningIsDropped(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	port.Write("OLD1\rOLD2\r\nOLD3 WITHOUT END")
	scanner := newScanner(t, port.Path(), nil)
	reads := hardwaretest.Start(t, scanner, 16)
	hardwaretest.WaitState(t, scanner, hardware.StateUp)
	port.Send("NEW")
	require.Equal(t, "NEW", string(hardwaretest.Next(t, reads).Raw))
	require.EqualValues(t, 3, scanner.Status().Dropped.Settle)
	require.EqualValues(t, 1, scanner.Status().Frames)
}

func TestSettleEndsAlthoughTheLineIsNeverQuiet(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	start := time.Now()
	scanner := newScanner(t, port.Path(), func(cfg *serialscan.Config) {
		cfg.Open = func(string, int) (io.ReadWriteCloser, error) {
			return script{read: func(b []byte) (int, error) {
				<-time.After(time.Millisecond) // and then there is one more byte
				return copy(b, "\r"), nil
			}}, nil
		}
	})
	hardwaretest.Start(t, scanner, 16)
	hardwaretest.WaitState(t, scanner, hardware.StateUp)
	require.GreaterOrEqual(t, time.Since(start), serialscan.DefaultSettle)
}

func TestSettleCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	port.Send("OLD")
	cfg, err := serialscan.ParseURL(port.URL() + "?settle=0")
	require.NoError(t, err)
	scanner, err := serialscan.New(cfg)
	require.NoError(t, err)
	reads := hardwaretest.Start(t, scanner, 16)
	read := hardwaretest.Next(t, reads)
	require.Equal(t, "OLD", string(read.Raw))
	require.Equal(t, port.Path(), read.Source)
	require.Zero(t, scanner.Status().Dropped.Settle)
}

func TestPortsDoNotMix(t *testing.T) {
	t.Parallel()
	portA, _, readsA := startUp(t, func(cfg *serialscan.Config) { cfg.Name = "A" })
	portB, _, readsB := startUp(t, func(cfg *serialscan.Config) { cfg.Name = "B" })
	for range 10 {
		portA.Send("TO-A")
		portB.Send("TO-B")
	}
	for range 10 {
		a, b := hardwaretest.Next(t, readsA), hardwaretest.Next(t, readsB)
		require.Equal(t, "A TO-A", a.Source+" "+string(a.Raw))
		require.Equal(t, "B TO-B", b.Source+" "+string(b.Raw))
	}
}

func TestASecondScannerOnThePortWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	first := newScanner(t, port.Path(), nil)
	stop, stopped := runUntil(t, first)
	hardwaretest.WaitState(t, first, hardware.StateUp)

	alias := filepath.Join(t.TempDir(), "alias")
	require.NoError(t, os.Symlink(port.Path(), alias))
	second := newScanner(t, alias, nil)
	reads := hardwaretest.Start(t, second, 16)
	hardwaretest.WaitState(t, second, hardware.StateDown)
	require.Contains(t, second.Status().Problem, "is in use by another program: stop that program, or give this lane another port")

	stop()
	<-stopped
	hardwaretest.WaitState(t, second, hardware.StateUp)
	port.Send("MINE")
	require.Equal(t, "MINE", string(hardwaretest.Next(t, reads).Raw))
}

func TestWhatIsNoSerialPortIsSaidSo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		file:                          "is not a serial port",
		filepath.Join(file, "inside"): "not a directory",
	} {
		scanner := newScanner(t, path, nil)
		hardwaretest.Start(t, scanner, 1)
		hardwaretest.WaitState(t, scanner, hardware.StateDown)
		require.Contains(t, scanner.Status().Problem, want)
		require.NotContains(t, scanner.Status().Problem, "\n")
	}
}

// script is a port that does what a test says.
type script struct {
	read  func([]byte) (int, error)
	write func([]byte) (int, error)
}

func (s script) Read(b []byte) (int, error) { return s.read(b) }
func (s script) Write(b []byte) (int, error) {
	if s.write == nil {
		return len(b), nil
	}
	return s.write(b)
}
func (s script) Close() error { return nil }

// counted counts the reads of the port inside.
type counted struct {
	io.ReadWriteCloser
	reads *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	c.reads.Add(1)
	return c.ReadWriteCloser.Read(b)
}

func TestAHangUpDoesNotSpin(t *testing.T) {
	t.Parallel()
	var reads, opens atomic.Int64
	port, scanner, _ := startUp(t, func(cfg *serialscan.Config) {
		cfg.Open = func(device string, baud int) (io.ReadWriteCloser, error) {
			opens.Add(1)
			inside, err := tarm(device, baud)
			return counted{inside, &reads}, err
		}
	})
	reads.Store(0)
	start := time.Now()
	port.Unplug()
	hardwaretest.WaitState(t, scanner, hardware.StateAbsent)
	idle := time.Since(start)/(50*time.Millisecond) + 1
	require.LessOrEqual(t, reads.Load(), int64(idle)+1, "one read may see the hang-up, the others each waited")
	require.EqualValues(t, 1, opens.Load())
}

func TestAPortThatDoesNotWaitIsNotSpunOnAndOpenedAnew(t *testing.T) {
	t.Parallel()
	var reads, opens atomic.Int64
	second := make(chan struct{})
	port := hardwaretest.NewPort(t)
	scanner := newScanner(t, port.Path(), func(cfg *serialscan.Config) {
		cfg.Open = func(device string, baud int) (io.ReadWriteCloser, error) {
			if opens.Add(1) == 2 {
				close(second)
			}
			return script{read: func([]byte) (int, error) { reads.Add(1); return 0, io.EOF }}, nil
		}
	})
	hardwaretest.Start(t, scanner, 1)
	select {
	case <-second:
		require.LessOrEqual(t, reads.Load(), int64(25))
	case <-time.After(patience):
		require.FailNow(t, "the port was not opened anew")
	}
}

func TestAPanicIsTheLossOfOnePort(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	var opens atomic.Int64
	scanner := newScanner(t, port.Path(), func(cfg *serialscan.Config) {
		cfg.Open = func(device string, baud int) (io.ReadWriteCloser, error) {
			if opens.Add(1) == 1 {
				return script{read: func([]byte) (int, error) { panic("broken driver") }}, nil
			}
			return tarm(device, baud)
		}
	})
	reads := hardwaretest.Start(t, scanner, 1)
	hardwaretest.WaitState(t, scanner, hardware.StateUp)
	port.Send("ON WE GO")
	require.Equal(t, "ON WE GO", string(hardwaretest.Next(t, reads).Raw))
}

func TestALostPortIsOpenedAgainWithGrowingPauses(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	var mu sync.Mutex
	var tries []time.Time
	enough := make(chan struct{})
	scanner := newScanner(t, port.Path(), func(cfg *serialscan.Config) {
		cfg.RetryMin, cfg.RetryMax = 20*time.Millisecond, 80*time.Millisecond
		cfg.Rand = func() float64 { return 0 }
		cfg.Open = func(string, int) (io.ReadWriteCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			if tries = append(tries, time.Now()); len(tries) == 6 {
				close(enough)
			}
			return nil, errors.New("out of order")
		}
	})
	hardwaretest.Start(t, scanner, 1)
	select {
	case <-enough:
	case <-time.After(patience):
		require.FailNow(t, "it gave up")
	}
	require.Contains(t, scanner.Status().Problem, "out of order")
	mu.Lock()
	defer mu.Unlock()
	for i, pause := range []time.Duration{20, 40, 80, 80, 80} {
		require.GreaterOrEqual(t, tries[i+1].Sub(tries[i]), pause*time.Millisecond)
	}
}

func TestOnStatusTellsEachChangeOnce(t *testing.T) {
	t.Parallel()
	port := hardwaretest.NewPort(t)
	port.Unplug()
	states := make(chan hardware.State, 64)
	scanner := newScanner(t, port.Path(), func(cfg *serialscan.Config) {
		cfg.OnStatus = func(status hardware.Status) { states <- status.State }
	})
	stop, stopped := runUntil(t, scanner)
	require.Equal(t, hardware.StateAbsent, <-states)
	port.Replug()
	require.Equal(t, hardware.StateUp, <-states)
	stop()
	<-stopped
	require.Equal(t, hardware.StateOff, <-states)
	require.Empty(t, states)
}
