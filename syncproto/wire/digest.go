package wire

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"gatehouse/syncproto"
)

// SignDigest sets the key id and signature of r. Limits are checked first.
func SignDigest(r *syncproto.DigestReply, signer Signer) error {
	r.KeyID, r.Sig = signer.Key, nil
	if err := checkDigest(r); err != nil {
		return fmt.Errorf("sign digest: %w", err)
	}
	r.Sig = ed25519.Sign(signer.Private, r.Preimage())
	return nil
}

// VerifyDigest checks central's signature of r, then its limits.
func VerifyDigest(r *syncproto.DigestReply, trust *syncproto.TrustBundle) error {
	if !verifyOnline(trust, r.KeyID, r.Preimage(), r.Sig) {
		return fmt.Errorf("digest: %w", syncproto.ErrUntrusted)
	}
	return checkDigest(r)
}

func checkDigest(r *syncproto.DigestReply) error {
	if len(r.Except) > syncproto.DigestExceptMax {
		return fmt.Errorf("digest without %d subjects: %w", len(r.Except), errTooLarge)
	}
	if r.At < 0 || r.Head < r.At || r.Count < 0 {
		return fmt.Errorf("digest of %d records at %d of %d: %w", r.Count, r.At, r.Head, errFrame)
	}
	if _, err := syncproto.ParseDigest(r.Sums, r.Count); err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	return nil
}

// EncodeBucket writes a part of a bucket as NDJSON and signs it with central's
// online key.
func EncodeBucket(p *syncproto.BucketPage, signer Signer) ([]byte, error) {
	out, err := encodeFrame(p, p.Records, signer, func(sum syncproto.Hash) []byte {
		return syncproto.BucketPreimage(p, sum, signer.Key)
	})
	if err != nil {
		return nil, fmt.Errorf("encode bucket: %w", err)
	}
	return out, nil
}

// DecodeBucket reads a part of a bucket and verifies central's signature of it
// before it looks at a single record, then that each is of the bucket.
func DecodeBucket(body []byte, trust *syncproto.TrustBundle) (syncproto.BucketPage, error) {
	var p syncproto.BucketPage
	records, count, err := decodeFrame(body, &p, trust, func(sum syncproto.Hash, kid syncproto.KeyID) []byte {
		return syncproto.BucketPreimage(&p, sum, kid)
	})
	if err != nil {
		return syncproto.BucketPage{}, fmt.Errorf("bucket: %w", err)
	}
	if p.Head < 0 || p.More && count == 0 {
		return syncproto.BucketPage{}, fmt.Errorf("bucket of %d records at %d: %w", count, p.Head, errFrame)
	}
	if p.Records, err = parseRecords(records, count); err != nil {
		return syncproto.BucketPage{}, fmt.Errorf("decode bucket: %w", err)
	}
	for i := range p.Records {
		if s := syncproto.SubjectOf(&p.Records[i]); s.Bucket() != p.Bucket {
			return syncproto.BucketPage{}, fmt.Errorf("bucket %d holds %s: %w", p.Bucket, s, errFrame)
		}
	}
	return p, nil
}

func serveDigest(ctx context.Context, s *Server, c *call) (reply, error) {
	q, err := parseRosterQuery(c.query)
	if err != nil {
		return reply{}, err
	}
	out, err := s.cfg.Service.Digest(ctx, c.auth.device, syncproto.DigestRequest{Stream: q.stream, Cursor: q.cursor})
	if err != nil {
		return reply{}, err
	}
	if err := SignDigest(&out, c.signer); err != nil {
		return reply{}, err
	}
	return jsonReply(out, nil)
}

func serveBucket(ctx context.Context, s *Server, c *call) (reply, error) {
	q, err := parseRosterQuery(c.query)
	if err != nil {
		return reply{}, err
	}
	bucket, err := strconv.ParseUint(q.values.Get("bucket"), 10, 8)
	if err != nil {
		return reply{}, malformed("the query does not name a bucket from 0 to 255")
	}
	req := syncproto.BucketRequest{Stream: q.stream, Cursor: q.cursor, Bucket: uint8(bucket)}
	if after := q.values.Get("after"); after != "" {
		if err := req.After.UnmarshalText([]byte(after)); err != nil || !knownSubject(req.After) {
			return reply{}, malformed("the query names no subject to go on after")
		}
	}
	part, err := s.cfg.Service.Bucket(ctx, c.auth.device, req)
	if err != nil {
		return reply{}, err
	}
	body, err := EncodeBucket(&part, c.signer)
	if err != nil {
		return reply{}, err
	}
	return reply{body: body, contentType: typeLines, compress: true}, nil
}

// knownSubject reports whether a bucket can be gone on with after s.
func knownSubject(s syncproto.Subject) bool {
	switch s.Kind {
	case syncproto.RecordRules, syncproto.RecordDevice, syncproto.RecordTicket, syncproto.RecordEntry:
		return true
	}
	return false
}

// comparer is the part of a Client that compares rosters.
type comparer struct{ c *Client }

// Digest asks for the digest of the roster as of a cursor and verifies its
// signature.
func (m comparer) Digest(ctx context.Context, req syncproto.DigestRequest) (syncproto.DigestReply, error) {
	var out syncproto.DigestReply
	q := url.Values{"stream": {req.Stream.String()}, "cursor": {req.Cursor}}
	raw, err := m.c.call(ctx, m.c.signed(http.MethodGet, PathDigest+"?"+q.Encode(), nil))
	if err != nil {
		return out, err
	}
	if err := decodeReply(raw, &out); err != nil {
		return out, err
	}
	if err := VerifyDigest(&out, m.c.cfg.Trust()); err != nil {
		return syncproto.DigestReply{}, err
	}
	if out.Stream != req.Stream {
		return syncproto.DigestReply{}, fmt.Errorf("digest of another stream: %w", syncproto.ErrUntrusted)
	}
	return out, nil
}

// Bucket asks for a part of a bucket and verifies it. It is the part that was
// asked for, or an error.
func (m comparer) Bucket(ctx context.Context, req syncproto.BucketRequest) (syncproto.BucketPage, error) {
	q := url.Values{"stream": {req.Stream.String()}, "cursor": {req.Cursor}, "bucket": {strconv.Itoa(int(req.Bucket))}}
	if req.After.Kind != "" {
		q.Set("after", req.After.String())
	}
	raw, err := m.c.call(ctx, m.c.signed(http.MethodGet, PathBucket+"?"+q.Encode(), nil))
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	part, err := DecodeBucket(raw, m.c.cfg.Trust())
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	if part.Stream != req.Stream || part.Bucket != req.Bucket || part.After != req.After {
		return syncproto.BucketPage{}, fmt.Errorf("another bucket than was asked for: %w", syncproto.ErrUntrusted)
	}
	return part, nil
}
