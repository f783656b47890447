package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// profileHeaderMax bounds how long a header of a request for a profile may take.
const profileHeaderMax = 10 * time.Second

// profiles serves what `go tool pprof` asks for, on an address of its own, and prints where.
// Profiles name functions and not what they work on, and taking one costs some processor time.
func profiles(addr string, out io.Writer) func(context.Context) error {
	return func(ctx context.Context) error {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("%w; choose another address with --pprof", err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		server := &http.Server{Handler: mux, ReadHeaderTimeout: profileHeaderMax}
		unhook := context.AfterFunc(ctx, func() { _ = server.Close() }) // a profile under way is of no use any more
		defer unhook()
		fmt.Fprintf(out, "central pprof http://%s/debug/pprof/\n", listener.Addr()) // one write
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve profiles: %w", err)
		}
		return nil
	}
}
