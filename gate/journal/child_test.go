package journal_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

// The environment that makes the test binary a gate that can be killed.
const (
	childMode = "JOURNAL_TEST_CHILD" // write, full
	childPath = "JOURNAL_TEST_PATH"
)

// The child's identity is that of every child and of the parent that checks it.
var (
	childKey    = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	childDevice = uuid.UUID{1}
)

func childGate(path string) journal.Config {
	return journal.Config{Path: path, Device: childDevice, Key: childKey, Now: time.Now, NewID: newID, WALBytes: 256 << 10}
}

// ack is a line of the child's standard output: an entry that Wait returned.
type ack struct {
	Entry syncproto.Entry
	Err   string
}

// child is what the test binary does when it was started by itself.
func child() bool {
	var err error
	switch mode := os.Getenv(childMode); mode {
	case "":
		return false
	case "write":
		err = writeUntilKilled()
	case "full":
		err = writeUntilFull()
	default:
		err = errors.New(mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// writeUntilKilled has four lanes that report each entry once it is durable.
func writeUntilKilled() error {
	j, err := journal.Open(context.Background(), childGate(os.Getenv(childPath)))
	if err != nil {
		return err
	}
	var (
		mu    sync.Mutex
		lanes sync.WaitGroup
	)
	for range 4 {
		lanes.Go(func() {
			for n := 1; ; n++ {
				mu.Lock()
				p, err := j.Append(admit(j, n))
				mu.Unlock()
				if err == nil {
					var e syncproto.Entry
					if e, err = p.Wait(context.Background()); err == nil {
						err = report(e, nil)
					}
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		})
	}
	lanes.Wait()
	return nil
}

// report writes a line in one system call, so that a kill tears none.
func report(e syncproto.Entry, failure error) error {
	a := ack{Entry: e}
	if failure != nil {
		a.Err = failure.Error()
	}
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// writeUntilFull writes, lets the disk refuse every byte, and goes on trying
// after there is room again.
func writeUntilFull() error {
	signal.Ignore(unix.SIGXFSZ)
	j, err := journal.Open(context.Background(), childGate(os.Getenv(childPath)))
	if err != nil {
		return err
	}
	try := func() error {
		p, err := j.Append(admit(j, 1))
		if err != nil {
			return report(syncproto.Entry{}, err)
		}
		e, err := p.Wait(context.Background())
		return report(e, err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	for _, room := range []bool{true, true, false, false, true, true} {
		limit := was
		if !room {
			limit.Cur = 1
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		if err := try(); err != nil {
			return err
		}
	}
	if j.Err() == nil {
		return errors.New("the journal does not know that it is broken")
	}
	return j.Close()
}

// start runs the test binary as a child and returns what it reports.
func start(t *testing.T, mode, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+mode, childPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}
