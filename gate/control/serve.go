package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// headerWait bounds the time until a request's head has arrived, stopWait the
	// time that requests under way are given when the gate stops.
	headerWait = 5 * time.Second
	stopWait   = time.Second
	// headerBytesMax bounds a request's head, bodyBytesMax its body: a code in
	// base64 within its JSON.
	headerBytesMax = 8 << 10
	bodyBytesMax   = CodeBytesMax*4/3 + 64
	// errorTrailer tells a client why a journal stream ended before its end.
	errorTrailer = "Gatehouse-Error"
)

type verifyRequest struct {
	Code []byte `json:"code"`
}

type errorReply struct {
	Error string `json:"error"`
}

// Serve answers on the socket of dir until ctx ends, then removes the socket and
// returns nil. A socket that is there already is taken for the remains of a
// killed gate, so the caller must hold the gate's lock on dir.
func Serve(ctx context.Context, dir string, b Running) error {
	l, err := Listen(dir)
	if err != nil {
		return err
	}
	return l.Serve(ctx, b)
}

// Listener is a bound control socket. Clients wait in it until Serve is called.
type Listener struct {
	dir    *socketDir
	socket net.Listener
}

// Listen binds the socket of dir; the caller must hold the gate's lock on dir.
func Listen(dir string) (*Listener, error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	l, err := d.listen()
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &Listener{dir: d, socket: l}, nil
}

// Close removes the socket. Serve does it by itself.
func (l *Listener) Close() error { return errors.Join(l.socket.Close(), l.dir.close()) }

// Serve answers until ctx ends, then closes l and returns nil.
func (l *Listener) Serve(ctx context.Context, b Running) error {
	srv := &http.Server{
		Handler: handler(b), ReadHeaderTimeout: headerWait, MaxHeaderBytes: headerBytesMax,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l.socket) }()
	select {
	case err := <-served:
		return fmt.Errorf("control socket: %w", errors.Join(err, l.dir.close()))
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close() // what did not end in time is cut off; there is nobody to tell
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", errors.Join(err, l.dir.close()))
	}
	return l.dir.close()
}

func handler(b Running) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := b.Status(r.Context())
		reply(w, s, err)
	})
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, r *http.Request) {
		p, err := b.Peers(r.Context())
		reply(w, p, err)
	})
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) { verify(w, r, b) })
	if s, ok := b.(Seller); ok {
		mountSeller(mux, s)
	}
	mountVault(mux, b)
	mux.HandleFunc("POST /check", func(w http.ResponseWriter, r *http.Request) {
		c, err := b.Check(r.Context())
		reply(w, c, err)
	})
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, r *http.Request) { stream(w, r, b) })
	return mux
}

func verify(w http.ResponseWriter, r *http.Request, b Backend) {
	var req verifyRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax)).Decode(&req)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), len(req.Code) > CodeBytesMax:
		send(w, http.StatusRequestEntityTooLarge, errorReply{ErrTooLarge.Error()})
	case err != nil:
		send(w, http.StatusBadRequest, errorReply{"verify request: " + err.Error()})
	default:
		v, err := b.Verify(r.Context(), req.Code)
		reply(w, v, err)
	}
}

// stream sends the journal as it is read. The status is sent before the first
// entry, so what goes wrong later travels in a trailer.
func stream(w http.ResponseWriter, r *http.Request, b Backend) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Trailer", errorTrailer)
	buf := bufio.NewWriterSize(w, 32<<10)
	enc := json.NewEncoder(buf)
	err := b.Journal(r.Context(), func(l Line) error { return enc.Encode(l) })
	if err = errors.Join(err, buf.Flush()); err != nil {
		w.Header().Set(errorTrailer, oneLine(err))
	}
}

// oneLine makes an error fit into a header.
func oneLine(err error) string {
	text, _ := json.Marshal(err.Error()) // a string always encodes
	return string(text)
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		send(w, http.StatusInternalServerError, errorReply{err.Error()})
		return
	}
	send(w, http.StatusOK, v)
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone hears nothing
}
