package wire

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Service is what central does with messages that were authenticated and are
// well-formed. Methods are called concurrently. A refusal is a
// [*syncproto.Error] and goes to the gate as it is; any other error is logged and
// the gate is told to try again later.
type Service interface {
	// Enrol trades a token for an identity. The request is signed by the key that
	// it presents. The same token with the same key gives the same reply again.
	Enrol(ctx context.Context, req syncproto.EnrolRequest) (syncproto.EnrolReply, error)
	// Device is the key of an enrolled device, revoked ones included; CodeSignature
	// for one that was never enrolled here.
	Device(ctx context.Context, device uuid.UUID) (DeviceAuth, error)
	// Hello opens a conversation. signedMS is the time that the device signed the
	// request with. One that is not later than that of the device's last hello is
	// refused with [TooEarly], and changes nothing: the request is a copy of one
	// that was here, or comes after one that was sent later. Proto of the reply is
	// set by the server half.
	Hello(ctx context.Context, device uuid.UUID, req syncproto.HelloRequest, signedMS int64) (syncproto.HelloReply, error)
	// Manifest is a snapshot of stream. It is signed with the key of the day here,
	// so a stored one may carry an old signature or none.
	Manifest(ctx context.Context, device, stream uuid.UUID) (syncproto.Manifest, error)
	// Blob is a chunk that a manifest named.
	Blob(ctx context.Context, device uuid.UUID, hash syncproto.Hash) ([]byte, error)
	// Changes is the page after a cursor. With nothing to tell it waits, up to
	// WaitMS or until ctx ends, and then gives an empty page. Cursor can be
	// parsed or is empty, which is the origin; Limit and WaitMS are within the protocol's limits. [FitPage] tells how many records a page holds.
	Changes(ctx context.Context, device uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error)
	// Digest is the roster as of a cursor, which can be parsed. It is signed here.
	Digest(ctx context.Context, device uuid.UUID, req syncproto.DigestRequest) (syncproto.DigestReply, error)
	// Bucket is what of a bucket follows a subject; Cursor can be parsed. [FitPage]
	// tells how many records a part holds.
	Bucket(ctx context.Context, device uuid.UUID, req syncproto.BucketRequest) (syncproto.BucketPage, error)
	// Push stores entries durably. The chain is verified ([VerifyPush]) against the
	// key of the device that req names, which need not be the one that pushes.
	Push(ctx context.Context, device uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error)
	// Heartbeat notes how a gate is.
	Heartbeat(ctx context.Context, device uuid.UUID, req syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error)
	// Lease gives a gate a block of ticket numbers, with their places in the type's
	// quota, or more time for one. Count is between 1 and LeaseCountMax, or Extend is
	// set. The same Request gives the same lease again.
	Lease(ctx context.Context, device uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error)
	// WalkUp stores durably who tickets were sold to at a gate. Sending it again
	// changes nothing.
	WalkUp(ctx context.Context, device uuid.UUID, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error)
	// Quarantine keeps what an authenticated device sent as a push and is not one;
	// raw has at most PushBytesMax bytes.
	Quarantine(ctx context.Context, device uuid.UUID, raw []byte, reason string) error
	// Signer is central's identity and its current online key.
	Signer(ctx context.Context) (Signer, error)
}

// HolderService is a Service that has holders' boxes to give as well. One that has
// not, such as a gate that serves others, refuses with CodeNotFound.
type HolderService interface {
	// Holders is a snapshot of the sealed holders of stream, and of its vault record,
	// at seq or later. As with Manifest, the signature is made here.
	Holders(ctx context.Context, device, stream uuid.UUID, seq int64) (syncproto.Manifest, error)
}

// TooEarly refuses a hello that was not signed later than the last one of its
// device, which was signed at lastMS. A device whose clock was put back signs
// again with the time in the refusal, and gets through.
func TooEarly(lastMS int64, now time.Time) *syncproto.Error {
	refusal := syncproto.Errorf(syncproto.CodeClock, "The hello was signed before the last one of this gate, or is that one again.")
	refusal.ServerMS = max(now.UnixMilli(), lastMS+1)
	return refusal
}

// DeviceAuth is what a device's requests are checked against.
type DeviceAuth struct {
	Key     ed25519.PublicKey
	Revoked bool
}

// Signer is central's id and the online key that signs pages, manifests and
// responses.
type Signer struct {
	Central uuid.UUID
	Key     syncproto.KeyID
	Private ed25519.PrivateKey
}
