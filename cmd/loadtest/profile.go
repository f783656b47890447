package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"gatehouse/cmd/program"
)

// takeProfiles takes profiles of central: of its processor time while it is measured, and of its
// memory after. It does nothing where none are wanted.
func (t *test) takeProfiles(ctx context.Context) error {
	if t.profile == "" {
		return nil
	}
	if err := os.MkdirAll(t.profile, 0o755); err != nil {
		return fmt.Errorf("folder for profiles: %w", err)
	}
	var url string
	select {
	case url = <-t.prof:
	case <-time.After(program.ReadyMax):
		return errors.New("central does not serve profiles")
	}
	seconds := max(int(t.duration.Seconds())-1, 1)
	query := fmt.Sprintf("?seconds=%d", seconds)
	for _, name := range []string{"profile", "allocs", "heap", "goroutine"} {
		if err := fetch(ctx, url+name+query, filepath.Join(t.profile, name+".pb.gz")); err != nil {
			return err
		}
		query = ""
	}
	return nil
}

func fetch(ctx context.Context, url, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("profile of central: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile of central: %w", err)
	}
	out, err := os.Create(file)
	if err != nil {
		return errors.Join(fmt.Errorf("profile of central: %w", err), res.Body.Close())
	}
	_, err = io.Copy(out, res.Body)
	return errors.Join(err, out.Close(), res.Body.Close())
}
