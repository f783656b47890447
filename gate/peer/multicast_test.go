package peer_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/peer"
	"gatehouse/syncproto/syncprototest"
)

// childMode makes the test binary somebody in a network of its own.
const childMode = "PEER_TEST_CHILD"

// child is what the test binary does when it was started by itself.
func child() bool {
	if os.Getenv(childMode) == "" {
		return false
	}
	if err := findNeighbours(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return true
}

// TestNeighboursFindEachOther lets gates look for each other in a network
// namespace, in which there is an interface that can multicast and nobody else.
func TestNeighboursFindEachOther(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=multicast")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 && os.Getenv("CI") == "" {
		t.Skipf("SKIPPED: this machine lets nobody make a network namespace (%v); run it as root", err)
	}
	require.NoError(t, err, "%s", out)
}

func findNeighbours() error {
	for _, args := range [][]string{
		{"addr", "add", "10.9.0.1/24", "dev", "lo"},
		{"link", "set", "lo", "up", "multicast", "on"},
		{"route", "add", "224.0.0.0/4", "dev", "lo"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	ours, theirs := syncprototest.ID("our event"), syncprototest.ID("another event")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	found := map[string][]string{} // by who looks
	var gates sync.WaitGroup
	errs := make(chan error, 4)
	look := func(name string, stream uuid.UUID, shown ...string) {
		hints := peer.Multicast(stream, shown)
		gates.Go(func() {
			errs <- hints(ctx, func(addr string) {
				mu.Lock()
				defer mu.Unlock()
				found[name] = append(found[name], addr)
				// Whoever looks for ours has both now; the others have none of them.
				if slices.Contains(found["A"], "10.9.0.1:7002") && slices.Contains(found["hidden"], "10.9.0.1:7001") &&
					slices.Contains(found["hidden"], "10.9.0.1:7002") && len(found["other"]) > 0 {
					cancel()
				}
			})
		})
	}
	look("A", ours, "10.9.0.1:7001")
	look("B", ours, "10.9.0.1:7002")
	look("other", theirs, "10.9.0.1:7003")
	look("hidden", ours) // it does not listen
	gates.Wait()
	for range 4 {
		if err := <-errs; err != nil {
			cancel()
			return err
		}
	}
	if ctx.Err() != context.Canceled {
		return fmt.Errorf("not all were found: %v", found)
	}
	for name, addrs := range found {
		for _, addr := range addrs {
			if (name == "other") != (addr == "10.9.0.1:7003") {
				return fmt.Errorf("%s found %s, which is of another event", name, addr)
			}
		}
	}
	return nil
}

func TestMulticastShowsNothingWithoutAnAddress(t *testing.T) {
	t.Parallel()
	err := peer.Multicast(syncprototest.ID("event"), []string{"nonsense"})(t.Context(), func(string) {})
	require.ErrorContains(t, err, "no address to show")
}
