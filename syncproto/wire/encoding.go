package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// compressMin is the size from which a response is worth compressing.
const compressMin = 1024

var (
	errTooLarge = errors.New("larger than the protocol allows")
	errEncoding = errors.New("content encoding is not one of zstd, gzip, identity")
)

// codec compresses and decompresses bodies. It is safe for concurrent use.
type codec struct {
	limit int
	enc   *zstd.Encoder
	dec   *zstd.Decoder
}

// newCodec makes a codec that decodes to limit bytes at most.
func newCodec(limit int) (*codec, error) {
	// What is sent once is compressed quickly. Entries, which are hashes above all,
	// come out no larger than by the default level.
	enc, err := newEncoder(zstd.SpeedFastest)
	if err != nil {
		return nil, err
	}
	dec, err := newDecoder(limit)
	if err != nil {
		return nil, err
	}
	return &codec{limit: limit, enc: enc, dec: dec}, nil
}

func newEncoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(level))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	return enc, nil
}

func newDecoder(limit int) (*zstd.Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return dec, nil
}

// encode compresses body with the best method that accept (an Accept-Encoding
// value) names, and says which.
func (c *codec) encode(body []byte, accept string) ([]byte, string, error) {
	if len(body) < compressMin {
		return body, "", nil
	}
	switch {
	case accepts(accept, "zstd"):
		return c.enc.EncodeAll(body, nil), "zstd", nil
	case accepts(accept, "gzip"):
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(body); err != nil {
			return nil, "", fmt.Errorf("gzip: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, "", fmt.Errorf("gzip: %w", err)
		}
		return b.Bytes(), "gzip", nil
	}
	return body, "", nil
}

// accepts reports whether an Accept-Encoding value names a method; a quality of
// zero means that it does not (RFC 9110, 12.5.3).
func accepts(header, method string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), method) {
			q := strings.ReplaceAll(params, " ", "")
			return strings.Trim(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
		}
	}
	return false
}

// decode undoes a content encoding, to limit bytes at most.
func (c *codec) decode(body []byte, encoding string) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		if len(body) > c.limit {
			return nil, errTooLarge
		}
		return body, nil
	case "zstd":
		return decompress(c.dec, body, c.limit)
	case "gzip":
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		out, err := io.ReadAll(io.LimitReader(r, int64(c.limit)+1))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		if len(out) > c.limit {
			return nil, errTooLarge
		}
		return out, nil
	}
	return nil, fmt.Errorf("%.40q: %w", encoding, errEncoding)
}

func decompress(dec *zstd.Decoder, body []byte, limit int) ([]byte, error) {
	out, err := dec.DecodeAll(body, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > limit {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}
