package wire

import (
	"context"
	"net/http"

	"gatehouse/syncproto"
)

// Headers of the protocol.
const (
	// HeaderProto carries the protocol version that a message is written in.
	HeaderProto = "Gatehouse-Protocol"
	// HeaderSignature carries central's signature of a response.
	HeaderSignature = "Gatehouse-Signature"
)

// Paths of the protocol, relative to central's base URL. Snapshot, holders and blob
// are followed by an id.
const (
	PathEnrol     = "/v1/enrol"
	PathHello     = "/v1/hello"
	PathSnapshot  = "/v1/snapshot/"
	PathHolders   = "/v1/holders/"
	PathBlob      = "/v1/blob/"
	PathChanges   = "/v1/changes"
	PathPush      = "/v1/push"
	PathHeartbeat = "/v1/heartbeat"
	PathLease     = "/v1/lease"
	PathWalkUp    = "/v1/walkup"
	PathDigest    = "/v1/digest"
	PathBucket    = "/v1/bucket"
)

// RequestBytesMax is the most that a request's body may have on the way. Whoever
// reads bodies from a network need not read more than one byte beyond it: Serve
// refuses what is longer.
const RequestBytesMax = syncproto.PushBytesMax

const (
	targetMax     = 2048
	typeJSON      = "application/json"
	typeLines     = "application/x-ndjson"
	typeBytes     = "application/octet-stream"
	headerAuth    = "Authorization"
	headerType    = "Content-Type"
	headerAccept  = "Accept-Encoding"
	headerEncoded = "Content-Encoding"
)

// Request is a message to central. Target is the path and, after a question
// mark, the query, exactly as it was signed.
type Request struct {
	Method string
	Target string
	Header http.Header
	Body   []byte
}

// Response is central's answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Doer carries a request to central and brings its answer. An error means that
// there was no answer. A Doer must not follow redirects nor decode bodies.
type Doer func(ctx context.Context, req *Request) (*Response, error)
