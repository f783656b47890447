package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/klauspost/compress/zstd"

	"gatehouse/syncproto"
)

const (
	// chunkRaw keeps a chunk below ChunkBytesMax even where nothing compresses.
	chunkRaw = syncproto.ChunkBytesMax - 4<<10
	// chunkRecords cuts chunks by number, so that a ticket that changed in place
	// changes its own chunk only and the others keep their names.
	chunkRecords = 8192
	// holderWeight is how many of those a holder counts for: its line is longer by
	// about as much, and a chunk that is full by number first is cut where it was
	// before.
	holderWeight = 4
)

// EncodedChunk is a chunk of a snapshot and the bytes that it names.
type EncodedChunk struct {
	syncproto.Chunk
	Body []byte
}

// EncodeChunks cuts records into chunks and hands each to emit, in order; the
// chunk's body is emit's to keep. It stops at the first error of records or emit.
// Equal records give equal chunks.
func EncodeChunks(records iter.Seq2[*syncproto.Record, error], emit func(EncodedChunk) error) error {
	enc, err := newEncoder(zstd.SpeedDefault)
	if err != nil {
		return err
	}
	b := chunkBuilder{emit: func(raw []byte, count int64) error {
		body := enc.EncodeAll(raw, nil)
		return emit(EncodedChunk{
			Chunk: syncproto.Chunk{Hash: sha256.Sum256(body), Bytes: int64(len(body)), Count: count},
			Body:  body,
		})
	}}
	for rec, err := range records {
		if err != nil {
			return fmt.Errorf("read records of snapshot: %w", err)
		}
		if err := b.add(rec); err != nil {
			return err
		}
	}
	return b.flush()
}

type chunkBuilder struct {
	raw   []byte
	count int64
	full  int // of chunkRecords
	total int
	emit  func(raw []byte, count int64) error
}

func (b *chunkBuilder) add(rec *syncproto.Record) error {
	before := len(b.raw)
	out, err := AppendRecord(b.raw, rec)
	if err != nil {
		return err
	}
	out = append(out, '\n')
	if len(out) > chunkRaw {
		line := bytes.Clone(out[before:])
		b.raw = out[:before]
		if err := b.flush(); err != nil {
			return err
		}
		out = append(b.raw, line...)
	}
	b.raw = out
	b.count++
	if b.full++; rec.Kind == syncproto.RecordHolder {
		b.full += holderWeight - 1
	}
	if b.full >= chunkRecords {
		return b.flush()
	}
	return nil
}

func (b *chunkBuilder) flush() error {
	if b.count == 0 {
		return nil
	}
	if b.total++; b.total > syncproto.ChunksMax {
		return fmt.Errorf("snapshot of more than %d chunks: %w", syncproto.ChunksMax, errTooLarge)
	}
	if err := b.emit(b.raw, b.count); err != nil {
		return fmt.Errorf("store chunk of snapshot: %w", err)
	}
	b.raw, b.count, b.full = b.raw[:0], 0, 0
	return nil
}

// DecodeChunk checks that body is the chunk want and hands its records to fn, in
// order. The record is fn's for the length of the call only. An error of fn ends
// it and is returned as it is.
func DecodeChunk(body []byte, want syncproto.Chunk, fn func(*syncproto.Record) error) error {
	if int64(len(body)) != want.Bytes || len(body) > syncproto.ChunkBytesMax || sha256.Sum256(body) != want.Hash {
		return fmt.Errorf("chunk of snapshot is not the one its manifest names: %w", syncproto.ErrUntrusted)
	}
	dec, err := newDecoder(syncproto.ChunkRawMax)
	if err != nil {
		return err
	}
	defer dec.Close()
	lines, err := decompress(dec, body, syncproto.ChunkRawMax)
	if err != nil {
		return fmt.Errorf("decode chunk of snapshot: %w", err)
	}
	var count int64
	var rec syncproto.Record
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		if !ok {
			return fmt.Errorf("decode chunk of snapshot: %w", errFrame)
		}
		lines = rest
		if err := ParseRecord(line, &rec); err != nil {
			return fmt.Errorf("decode chunk of snapshot: %w", err)
		}
		if err := fn(&rec); err != nil {
			return err
		}
		count++
	}
	if count != want.Count {
		return fmt.Errorf("chunk of %d records where the manifest says %d: %w", count, want.Count, errFrame)
	}
	return nil
}

// SignManifest sets the key id and signature of m. Limits are checked first.
func SignManifest(m *syncproto.Manifest, signer Signer) error {
	m.KeyID, m.Sig = signer.Key, nil
	if err := checkManifest(m); err != nil {
		return fmt.Errorf("sign manifest: %w", err)
	}
	m.Sig = ed25519.Sign(signer.Private, m.Preimage())
	return nil
}

// VerifyManifest checks central's signature of m, then its limits.
func VerifyManifest(m *syncproto.Manifest, trust *syncproto.TrustBundle) error {
	if !verifyOnline(trust, m.KeyID, m.Preimage(), m.Sig) {
		return fmt.Errorf("manifest: %w", syncproto.ErrUntrusted)
	}
	if err := checkManifest(m); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

func checkManifest(m *syncproto.Manifest) error {
	if len(m.Chunks) > syncproto.ChunksMax {
		return fmt.Errorf("%d chunks: %w", len(m.Chunks), errTooLarge)
	}
	var count int64
	for _, c := range m.Chunks {
		if c.Bytes < 1 || c.Bytes > syncproto.ChunkBytesMax || c.Count < 1 || c.Count > syncproto.ChunkRawMax {
			return fmt.Errorf("chunk of %d records in %d bytes: %w", c.Count, c.Bytes, errTooLarge)
		}
		count += c.Count
	}
	if m.Seq < 0 || m.Count != count {
		return fmt.Errorf("%d records where the chunks hold %d: %w", m.Count, count, errFrame)
	}
	return nil
}
