package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// replyBytesMax bounds a reply that is not a stream.
const replyBytesMax = 1 << 20

// Client talks to the gate that runs on a data directory. It is safe for
// concurrent use. Its methods return ErrNotRunning when the gate has stopped.
type Client struct {
	dir  *socketDir
	http *http.Client
}

// Dial finds the gate that runs on dir; ErrNotRunning when there is none.
func Dial(dir string) (*Client, error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	probe, err := d.dial(context.Background())
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	transport := &http.Transport{
		DisableCompression: true,
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
	}
	return &Client{dir: d, http: &http.Client{Transport: transport}}, probe.Close()
}

// Close lets go of the data directory.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.dir.close()
}

// Status asks how the gate is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Peers lists the other gates of the event as the gate sees them.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	var out []Peer
	err := c.call(ctx, http.MethodGet, "/peers", nil, &out)
	return out, err
}

// Verify asks how a code would be answered; nothing is journalled. A code longer
// than CodeBytesMax is ErrTooLarge.
func (c *Client) Verify(ctx context.Context, code []byte) (Verdict, error) {
	var v Verdict
	if len(code) > CodeBytesMax {
		return v, ErrTooLarge
	}
	body, err := json.Marshal(verifyRequest{Code: code})
	if err != nil {
		return v, fmt.Errorf("verify request: %w", err)
	}
	err = c.call(ctx, http.MethodPost, "/verify", body, &v)
	return v, err
}

// Check has the roster compared with central's now and waits for the end of it.
func (c *Client) Check(ctx context.Context) (Check, error) {
	var out Check
	err := c.call(ctx, http.MethodPost, "/check", nil, &out)
	return out, err
}

// Journal gives every entry of the gate's journal to fn, in the order of
// writing, and stops at fn's first error.
func (c *Client) Journal(ctx context.Context, fn func(Line) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/journal", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var l Line
		err := dec.Decode(&l)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("journal stream: %w", err)
		}
		if err := fn(l); err != nil {
			return err
		}
	}
	return trailedError(resp)
}

// trailedError is what went wrong at the gate after the stream had begun.
func trailedError(resp *http.Response) error {
	quoted := resp.Trailer.Get(errorTrailer)
	if quoted == "" {
		return nil
	}
	var text string
	if err := json.Unmarshal([]byte(quoted), &text); err != nil {
		return fmt.Errorf("journal of the gate: %w", err)
	}
	return fmt.Errorf("journal of the gate: %s", text)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, replyBytesMax)).Decode(into); err != nil {
		return fmt.Errorf("reply of the gate: %w", err)
	}
	return nil
}

// do sends a request and turns the gate's refusals into errors.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gate"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the gate: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, ErrNotRunning):
		return nil, ErrNotRunning
	case err != nil:
		return nil, fmt.Errorf("ask the gate: %w", err)
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	defer resp.Body.Close()
	var refusal errorReply
	if err := json.NewDecoder(io.LimitReader(resp.Body, replyBytesMax)).Decode(&refusal); err != nil {
		return nil, fmt.Errorf("the gate answered %s", resp.Status)
	}
	return nil, fmt.Errorf("the gate answered: %s", refusal.Error)
}
