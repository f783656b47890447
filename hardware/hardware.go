// Package hardware names what a gate reads from: a Scanner hands over the
// codes that people present, and says in what state its device is.
//
// A driver knows bytes, cables and framing, and nothing of tickets: it hands
// over garbage as garbage, because a person who presents something
// unreadable must see a refusal. Each driver is a package below this one
// (serialscan, ...), holds to the contract written here, and proves it with
// the suite in hardwaretest. No package under hardware imports gate, central
// or syncproto.
package hardware

import (
	"context"
	"time"
)

// Read is one code as a device delivered it, before anybody gave it a
// meaning.
type Read struct {
	// Raw is the code without framing, configured prefix and AIM symbology
	// identifier. It is never empty, may hold any bytes, and belongs to
	// whoever receives the Read.
	Raw []byte
	// Source names the device as it was configured, so that it stays the
	// same when the kernel numbers the device anew.
	Source string
	// At is when the end of the code was seen.
	At time.Time
}

// Scanner is a driver for one device that reads codes.
type Scanner interface {
	// Run reads codes into out until ctx ends, then returns nil. An absent,
	// busy or lost device does not end Run: it opens the device again by
	// itself, and Status says how it stands meanwhile. Run never waits for
	// out: when out is full, the newest code is dropped and counted, for a
	// person whose code was dropped presents it again, while old codes in a
	// queue would open a lane to nobody. One Run at a time; after it
	// returned it may be called again.
	Run(ctx context.Context, out chan<- Read) error
	// Status is a snapshot, safe to take from any goroutine at any time.
	Status() Status
}

// State is how a device stands.
type State int

const (
	// StateOff means that Run is not running, or has not tried the device
	// yet.
	StateOff State = iota
	// StateAbsent means that there is no such device at the moment.
	StateAbsent
	// StateDown means that the device is there and cannot be used: it is
	// held by another program, may not be opened, or was just lost.
	StateDown
	// StateUp means that the device is open and that every code which it
	// delivers from now on is read.
	StateUp
)

// String is the state in lower case, as logs and status pages show it.
func (s State) String() string {
	switch s {
	case StateOff:
		return "off"
	case StateAbsent:
		return "absent"
	case StateDown:
		return "down"
	case StateUp:
		return "up"
	}
	return "unknown"
}

// Status is how a device stands and what it did since its driver was made.
type Status struct {
	State State
	// Since is when State was entered. Zero before the first Run.
	Since time.Time
	// Device is the path that was opened last, symbolic links resolved.
	Device string
	// Problem says in a sentence why the device is not up and what to do.
	// Empty when it is up or off.
	Problem string
	// LastReadAt is the stamp of the last code handed over. Zero if none.
	LastReadAt time.Time
	// Frames counts the codes handed over; one that was received has been
	// counted. Noisy counts those that held bytes other than printable ASCII,
	// whether or not anybody had room for them.
	Frames, Noisy uint64
	// Reconnects counts how often the device came up again after a loss.
	Reconnects uint64
	// Dropped counts the codes that were not handed over.
	Dropped Dropped
}

// Dropped counts codes that a driver did not hand over, by reason.
type Dropped struct {
	// Noise is for frames too short to be a code, of unprintable bytes only.
	Noise uint64
	// Long is for frames over the driver's limit.
	Long uint64
	// Partial is for frames whose end never came.
	Partial uint64
	// Settle is for what arrived before the device counted as up.
	Settle uint64
	// Queue is for codes that found the receiver's channel full.
	Queue uint64
}
