package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// TextBytesMax bounds a query and a passphrase; a longer one is ErrLongText.
const TextBytesMax = 1024

// ErrLongText means that a query or a passphrase is longer than TextBytesMax.
var ErrLongText = fmt.Errorf("the text is longer than %d bytes", TextBytesMax)

// textMax bounds a request with a text: JSON may need six bytes for one.
const textMax = TextBytesMax*6 + 64

type textRequest struct {
	Text string `json:"text"`
}

// mountVault adds what staff and supervisors ask of names. Neither a query nor a
// passphrase is part of an address, nor logged.
func mountVault(mux *http.ServeMux, v Vault) {
	mux.HandleFunc("POST /find", func(w http.ResponseWriter, r *http.Request) {
		if text, ok := readText(w, r); ok {
			found, err := v.Find(r.Context(), text)
			reply(w, found, err)
		}
	})
	mux.HandleFunc("POST /unlock", func(w http.ResponseWriter, r *http.Request) {
		if text, ok := readText(w, r); ok {
			reply(w, struct{}{}, v.Unlock(r.Context(), text))
		}
	})
	mux.HandleFunc("POST /lock", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, v.Lock(r.Context()))
	})
}

func readText(w http.ResponseWriter, r *http.Request) (string, bool) {
	var req textRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, textMax)).Decode(&req)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), len(req.Text) > TextBytesMax:
		send(w, http.StatusRequestEntityTooLarge, errorReply{ErrLongText.Error()})
	case err != nil:
		send(w, http.StatusBadRequest, errorReply{"the request is not JSON with a text"})
	default:
		return req.Text, true
	}
	return "", false
}

// Find searches the holders of the gate's tickets.
func (c *Client) Find(ctx context.Context, query string) (Found, error) {
	var f Found
	return f, c.say(ctx, "/find", query, &f)
}

// Unlock opens the gate's names with the organiser's passphrase.
func (c *Client) Unlock(ctx context.Context, passphrase string) error {
	return c.say(ctx, "/unlock", passphrase, &struct{}{})
}

// Lock has the gate forget the key of its names.
func (c *Client) Lock(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/lock", nil, &struct{}{})
}

func (c *Client) say(ctx context.Context, path, text string, into any) error {
	if len(text) > TextBytesMax {
		return ErrLongText
	}
	body, err := json.Marshal(textRequest{text})
	if err != nil {
		return fmt.Errorf("ask the gate: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, body, into)
}
