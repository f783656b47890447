package hardwaretest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware"
)

// patience bounds every wait. It only matters when a test is about to fail.
const patience = 10 * time.Second

// Device is the outside of a scanner: what a person does to it.
type Device interface {
	// Send presents a code.
	Send(code string)
	// Unplug takes the device away; Replug brings it back.
	Unplug()
	Replug()
}

// TestScanner is the contract of hardware.Scanner. Setup makes a scanner that
// is not running yet and the device that it reads, plugged in; codes of
// upper-case letters and digits must pass through both unchanged. It should
// choose short retry times.
func TestScanner(t *testing.T, setup func(t *testing.T) (hardware.Scanner, Device)) {
	t.Run("hands over codes in order", func(t *testing.T) { testOrder(t, setup) })
	t.Run("gives each code away for good", func(t *testing.T) { testOwnership(t, setup) })
	t.Run("drops the newest when nobody has room", func(t *testing.T) { testQueue(t, setup) })
	t.Run("waits for an absent device", func(t *testing.T) { testAbsent(t, setup) })
	t.Run("survives its plug", func(t *testing.T) { testReplug(t, setup) })
	t.Run("stops and starts again", func(t *testing.T) { testRestart(t, setup) })
}

func testOrder(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	require.Equal(t, hardware.StateOff, scanner.Status().State)
	before := time.Now()
	reads := Start(t, scanner, 32)
	WaitState(t, scanner, hardware.StateUp)
	for i := range 20 {
		device.Send("CODE" + strconv.Itoa(i))
	}
	for i := range 20 {
		read := Next(t, reads)
		require.Equal(t, "CODE"+strconv.Itoa(i), string(read.Raw))
		require.NotEmpty(t, read.Source)
		require.WithinRange(t, read.At, before, time.Now())
		before = read.At
	}
	require.EqualValues(t, 20, scanner.Status().Frames, "a code that was received was not counted")
	require.Equal(t, before, scanner.Status().LastReadAt)
	require.Empty(t, reads)
}

func testOwnership(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	reads := Start(t, scanner, 8)
	WaitState(t, scanner, hardware.StateUp)
	device.Send("FIRST")
	first := Next(t, reads)
	device.Send("OTHER")
	second := Next(t, reads)
	require.Equal(t, "FIRST", string(first.Raw), "a later code overwrote an earlier one")
	clear(first.Raw[:cap(first.Raw)])
	require.Equal(t, "OTHER", string(second.Raw), "two codes share their bytes")
}

func testQueue(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	reads := Start(t, scanner, 2)
	WaitState(t, scanner, hardware.StateUp)
	for i := range 5 {
		device.Send("CODE" + strconv.Itoa(i))
	}
	require.Eventually(t, func() bool { return scanner.Status().Dropped.Queue == 3 }, patience, time.Millisecond)
	require.Equal(t, "CODE0", string(Next(t, reads).Raw))
	require.Equal(t, "CODE1", string(Next(t, reads).Raw))
	device.Send("LATER")
	require.Equal(t, "LATER", string(Next(t, reads).Raw))
	require.EqualValues(t, 3, scanner.Status().Frames)
}

func testAbsent(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	device.Unplug()
	reads := Start(t, scanner, 8)
	WaitState(t, scanner, hardware.StateAbsent)
	require.NotEmpty(t, scanner.Status().Problem)
	device.Replug()
	WaitState(t, scanner, hardware.StateUp)
	require.Empty(t, scanner.Status().Problem)
	require.Zero(t, scanner.Status().Reconnects)
	device.Send("HELLO")
	require.Equal(t, "HELLO", string(Next(t, reads).Raw))
}

func testReplug(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	reads := Start(t, scanner, 8)
	WaitState(t, scanner, hardware.StateUp)
	for i := range 3 {
		device.Unplug()
		WaitState(t, scanner, hardware.StateAbsent)
		device.Replug()
		WaitState(t, scanner, hardware.StateUp)
		device.Send("ROUND" + strconv.Itoa(i))
		require.Equal(t, "ROUND"+strconv.Itoa(i), string(Next(t, reads).Raw))
	}
	require.EqualValues(t, 3, scanner.Status().Reconnects)
}

func testRestart(t *testing.T, setup func(*testing.T) (hardware.Scanner, Device)) {
	scanner, device := setup(t)
	reads := make(chan hardware.Read, 8)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- scanner.Run(ctx, reads) }()
		WaitState(t, scanner, hardware.StateUp)
		device.Send("AGAIN")
		require.Equal(t, "AGAIN", string(Next(t, reads).Raw))
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "Run did not return when its context ended")
		}
		require.Equal(t, hardware.StateOff, scanner.Status().State)
	}
	require.Zero(t, scanner.Status().Reconnects)
}

// Start runs scanner until the test ends and returns what it reads, in a
// channel with room for queue codes.
func Start(t testing.TB, scanner hardware.Scanner, queue int) <-chan hardware.Read {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan hardware.Read, queue)
	done := make(chan error, 1)
	go func() { done <- scanner.Run(ctx, out) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "Run did not return when its context ended")
		}
	})
	return out
}

// WaitState returns once the scanner is in the state.
func WaitState(t testing.TB, scanner hardware.Scanner, state hardware.State) {
	t.Helper()
	require.Eventually(t, func() bool { return scanner.Status().State == state },
		patience, time.Millisecond, "the scanner did not become %s: %+v", state, scanner.Status())
}

// Next returns the next code, or fails the test if none comes.
func Next(t testing.TB, reads <-chan hardware.Read) hardware.Read {
	t.Helper()
	select {
	case read := <-reads:
		return read
	case <-time.After(patience):
		require.FailNow(t, "no code came")
		return hardware.Read{}
	}
}
