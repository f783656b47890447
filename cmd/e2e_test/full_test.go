package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// privileged runs a command that only root may. Where this user may not become root
// either, the test is skipped, but not in CI.
func privileged(t *testing.T, args ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil {
		return
	}
	what := fmt.Sprintf("THIS TEST NEEDS ROOT, and this did not work: %s: %v: %s", strings.Join(args, " "), err, out)
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// smallDisk is a folder on a file system of its own.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := filepath.Join(folder(t), "disk")
	require.NoError(t, os.Mkdir(dir, 0o700))
	privileged(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=700,uid=%d", megabytes, os.Getuid()), "gatehouse-e2e", dir)
	t.Cleanup(func() { privileged(t, "umount", "--lazy", dir) })
	return dir
}

// fill takes all that is left of a disk, and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			size /= 2
		}
	}
	return ballast
}

// idle is longer than a journal waits for the next entry before it tidies up.
const idle = 500 * time.Millisecond

// A disk that is full stops a gate only when the space is used up that its journal
// has had since it was opened. Then its lanes refuse, and show no false green; they
// open by themselves when there is room again.
func TestAFullDiskFailsClosedAndHeals(t *testing.T) {
	t.Parallel()
	url := startPostgres(t)
	c := newCentral(t, "--database-url", url)
	e := c.newFestival(t)
	r := e.newRush(t, "North", e.guests(t, 200))
	disk := smallDisk(t, 24)
	copyTree(t, r.data, filepath.Join(disk, "gate"))
	r.data = filepath.Join(disk, "gate")
	r.start(t)
	r.untilSynced(t)
	stop := make(chan struct{})
	var lanes sync.WaitGroup
	people := func(n int) {
		done := make(chan struct{})
		lanes.Go(func() {
			if err := r.come("N1", done); err != nil {
				t.Error(err)
			}
		})
		r.untilAdmits(t, r.green()+n)
		close(done)
		lanes.Wait()
	}
	people(40)

	ballast := fill(t, disk)
	people(60)
	// Nobody comes for a while, and the journal would like to tidy up.
	pass(idle)
	people(20)
	require.NotContains(t, r.proc.log(), "cannot record admissions", "there is room in the journal")

	for _, l := range r.lanes {
		lanes.Go(func() {
			if err := r.come(l.name, stop); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "the gate to say that it cannot record", func() error {
		if b, err := os.ReadFile(r.proc.stderr); err != nil || !strings.Contains(string(b), "cannot record admissions") {
			return errors.Join(err, fmt.Errorf("%d shown green; it says:\n%s", r.green(), r.proc.log()))
		}
		return nil
	})
	until(t, "an attempt to open the journal", func() error {
		if !strings.Contains(r.proc.log(), "still cannot be opened") {
			return errors.New(r.proc.log())
		}
		return nil
	})
	shut := r.green()
	all := r.decisions(t)
	require.Equal(t, "deny device_fault", all[len(all)-1].String())
	require.NoError(t, os.Remove(ballast))
	r.untilAdmits(t, shut+20)
	close(stop)
	lanes.Wait()
	r.noPanic(t)
	r.stop(t)
	everythingIsHeldOnce(t, e, url, []*rush{r})
}
