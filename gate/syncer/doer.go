package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Doer carries wire requests to central over HTTP. base is central's URL. Bodies
// stay as they were sent, because signatures are over them; nothing larger than
// the protocol allows is read.
func Doer(client *http.Client, base string) wire.Doer {
	base = strings.TrimRight(base, "/")
	return func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		hr, err := http.NewRequestWithContext(ctx, req.Method, base+req.Target, bytes.NewReader(req.Body))
		if err != nil {
			return nil, fmt.Errorf("request to central: %w", err)
		}
		hr.Header = req.Header.Clone()
		resp, err := client.Do(hr)
		if err != nil {
			return nil, fmt.Errorf("reach central: %w", err)
		}
		defer func() { _ = resp.Body.Close() }() // the body was read; a late error tells nothing
		body, err := io.ReadAll(io.LimitReader(resp.Body, syncproto.ResponseBytesMax+1))
		if err != nil {
			return nil, fmt.Errorf("read central's answer: %w", err)
		}
		if len(body) > syncproto.ResponseBytesMax {
			return nil, fmt.Errorf("read central's answer: more than %d bytes", syncproto.ResponseBytesMax)
		}
		return &wire.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
	}
}

// Transport is an HTTP transport for the few long conversations of a gate. It
// leaves content encodings alone.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = 8
	return t
}
