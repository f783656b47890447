package syncproto

import "time"

// Protocol versions. A server speaks ProtoMax and the one before it for at least
// a year; ProtoMin is the oldest it still speaks.
const (
	ProtoMin = 1
	ProtoMax = 1
	// SchemaLevel rises when a record kind is added that older gates skip.
	SchemaLevel = 2
)

// Limits of the protocol. What is beyond one is refused with CodeTooLarge and
// leaves nothing half-applied.
const (
	PageRecordsMax    = 2000             // records in a page of changes
	PageBytesMax      = 1 << 20          // uncompressed bytes of a page's records
	PushEntriesMax    = 500              // entries in a push
	PushBytesMax      = 256 << 10        // uncompressed bytes of a push
	ChunkBytesMax     = 1 << 20          // compressed bytes of a snapshot chunk
	ChunkRawMax       = 8 << 20          // uncompressed bytes of a snapshot chunk
	ChunksMax         = 4096             // chunks of a snapshot
	MessageBytesMax   = 64 << 10         // any other request
	ResponseBytesMax  = 16 << 20         // any response, uncompressed
	LineBytesMax      = 64 << 10         // one NDJSON line
	IncarnationsMax   = 4096             // incarnations in a hello reply
	JournalReportsMax = 256              // incarnations in a heartbeat
	DigestExceptMax   = 10_000           // subjects that a digest leaves out
	TextMax           = 256              // any free text field of an entry
	ClockToleranceMax = 5 * time.Minute  // between a request's time and central's
	WaitMax           = 25 * time.Second // long poll
	TokenValidity     = 15 * time.Minute // enrolment token, unless set otherwise
	TicketGrace       = 30 * 24 * time.Hour
	BackoffBase       = 500 * time.Millisecond
	BackoffMax        = 5 * time.Second
	HLCDriftMax       = 5 * time.Second    // how far a received clock may push ours
	LeaseCountMax     = 1000               // numbers of a lease, and of all open leases of a gate for one type
	LeaseValidity     = 24 * time.Hour     // of a lease, from when it was granted or extended
	LeaseAgeMax       = 7 * 24 * time.Hour // how long after it was granted a lease can be extended to
	WalkUpSalesMax    = 20                 // sales in a walk-up request
	SealedSaleMax     = 2048               // bytes of a sealed sale
)

// ServerLimits is what a server tells a gate in its hello reply; a gate keeps to
// the smaller of these and its own.
type ServerLimits struct {
	PageRecords int `json:"page_records"`
	PushEntries int `json:"push_entries"`
	PushBytes   int `json:"push_bytes"`
	WaitMS      int `json:"wait_ms"`
}

// DefaultServerLimits are the limits above.
func DefaultServerLimits() ServerLimits {
	return ServerLimits{
		PageRecords: PageRecordsMax, PushEntries: PushEntriesMax, PushBytes: PushBytesMax,
		WaitMS: int(WaitMax / time.Millisecond),
	}
}
