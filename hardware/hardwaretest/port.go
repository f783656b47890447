// Package hardwaretest gives tests a scanner to hold, and every scanner
// driver the suite that it must pass.
//
// A Port is a real tty with a scripted scanner at its other end; TestScanner
// is the contract of hardware.Scanner as a test.
package hardwaretest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware/ptyport"
)

// Port is a serial scanner in somebody's hand, on a real pseudo-terminal. It
// is unplugged when its test ends. Its methods fail the test when the port
// does, and may only be called from the test's goroutine.
type Port struct {
	t    testing.TB
	port *ptyport.Port
}

// NewPort plugs in a scanner.
func NewPort(t testing.TB) *Port {
	t.Helper()
	port, err := ptyport.New(filepath.Join(t.TempDir(), "scanner"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, port.Close()) })
	return &Port{t: t, port: port}
}

// Path is the device to configure. It stays the same through replugging.
func (p *Port) Path() string { return p.port.Path() }

// URL is the scanner's address as gate run --lane takes it.
func (p *Port) URL() string { return "serial:" + p.port.Path() }

// Send presents a code: its characters, then CR.
func (p *Port) Send(code string) {
	p.t.Helper()
	p.Write(code + "\r")
}

// Write puts bytes on the line as they are.
func (p *Port) Write(raw string) {
	p.t.Helper()
	_, err := p.port.Write([]byte(raw))
	require.NoError(p.t, err)
}

// Unplug pulls the cable.
func (p *Port) Unplug() {
	p.t.Helper()
	require.NoError(p.t, p.port.Unplug())
}

// Replug plugs the cable in again, as a new tty behind the same path.
func (p *Port) Replug() {
	p.t.Helper()
	require.NoError(p.t, p.port.Replug())
}
