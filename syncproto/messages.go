package syncproto

import (
	"crypto/ed25519"

	"github.com/google/uuid"
)

// EnrolRequest trades a one-time token for a device identity. It is signed by
// the key it presents. Sending it again with the same token and the same key
// gives the same reply, so that a lost reply does not burn a token.
type EnrolRequest struct {
	Token     string            `json:"token"` // the secret part
	DeviceKey ed25519.PublicKey `json:"device_key"`
	BoxKey    []byte            `json:"box_key"` // X25519 public key to which secrets are sealed
	App       string            `json:"app"`
}

// EnrolReply makes a gate of a box.
type EnrolReply struct {
	Device  uuid.UUID   `json:"device"`
	Name    string      `json:"name"`
	Event   EventNo     `json:"event"`
	Stream  uuid.UUID   `json:"stream"`
	Trust   TrustBundle `json:"trust"`
	HashKey []byte      `json:"hash_key"` // event hash key sealed to BoxKey, see SealTo
	// Gates are those of the event, this one included: a new box can have its first
	// roster of a neighbour while central is away.
	Gates []DeviceRecord `json:"gates,omitempty"`
}

// HelloRequest opens a conversation. It states which history the gate has.
type HelloRequest struct {
	ProtoMin    int       `json:"proto_min"`
	ProtoMax    int       `json:"proto_max"`
	Schema      int       `json:"schema"`
	Incarnation uuid.UUID `json:"incarnation"`
	// Parent is the end of the incarnation before this one; zero on a new box.
	Parent Position `json:"parent,omitzero"`
	// Ratchet is the value of the last hello reply; empty on a new box. Central
	// accepts the current and the previous value, so that a reply lost on the way
	// accuses nobody.
	Ratchet   string `json:"ratchet,omitempty"`
	ClockMS   int64  `json:"clock_ms"`
	FreeBytes int64  `json:"free_bytes,omitempty"`
	App       string `json:"app"`
	// PeerAddrs are host:port at which this gate listens for its peers; at most
	// PeerAddrsMax.
	PeerAddrs []string `json:"peer_addrs,omitempty"`
}

// HelloReply answers a hello.
type HelloReply struct {
	Proto  int          `json:"proto"`
	Limits ServerLimits `json:"limits"`
	// Acked is the watermark of every incarnation of this device.
	Acked   []Position   `json:"acked"`
	Ratchet string       `json:"ratchet"`
	Streams []StreamHead `json:"streams"`
	// ServerMS is central's clock, for the offset estimate.
	ServerMS int64       `json:"server_ms"`
	SpreadMS int         `json:"spread_ms,omitempty"`
	Trust    TrustBundle `json:"trust"`
	HashKey  []byte      `json:"hash_key"`
	// Quarantined: the device looks cloned or rewound; its entries are kept as
	// untrusted until an operator decides, and it goes on admitting.
	Quarantined bool `json:"quarantined,omitempty"`
	// VaultKey opens the holders' boxes; sealed to the device as HashKey is, with
	// PurposeVaultKey. A gate keeps it in memory and never on its disk. Absent for a
	// device in quarantine, which may be a thief's copy.
	VaultKey []byte `json:"vault_key,omitempty"`
}

// StreamHead is a stream's newest sealed number.
type StreamHead struct {
	Stream uuid.UUID `json:"stream"`
	Head   int64     `json:"head"`
}

// Manifest describes a snapshot: the state of a stream at one cursor, cut into
// content-addressed chunks of zstd-compressed NDJSON records.
type Manifest struct {
	Stream uuid.UUID `json:"stream"`
	Cursor string    `json:"cursor"` // where changes go on
	Seq    int64     `json:"seq"`
	Count  int64     `json:"count"` // records in all chunks
	Chunks []Chunk   `json:"chunks"`
	KeyID  KeyID     `json:"kid"`
	Sig    []byte    `json:"sig"`
}

// Chunk names one blob of a snapshot by the SHA-256 of its compressed bytes.
type Chunk struct {
	Hash  Hash  `json:"sha256"`
	Bytes int64 `json:"bytes"`
	Count int64 `json:"count"`
}

// Preimage is what central's online key signs.
func (m *Manifest) Preimage() []byte {
	p := NewPreimage("gatehouse/manifest/v1").Bytes(m.Stream[:]).String(m.Cursor).Int(m.Seq).Int(m.Count)
	p.Uint(uint64(len(m.Chunks)))
	for i := range m.Chunks {
		p.Bytes(m.Chunks[i].Hash[:]).Int(m.Chunks[i].Bytes).Int(m.Chunks[i].Count)
	}
	return p.Uint(uint64(m.KeyID)).Sum()
}

// ChangesRequest asks for what follows a cursor. With nothing to tell the server
// answers after Wait with an empty page.
type ChangesRequest struct {
	Stream uuid.UUID
	Cursor string
	Limit  int
	WaitMS int
}

// Page is one answer to a changes request: log positions From+1 to To. On the
// wire it is NDJSON: this header without Records, the records a line each, and a
// footer. There may be fewer records than positions, because a page tells of
// each subject once.
type Page struct {
	Stream   uuid.UUID `json:"stream"`
	From     int64     `json:"from"`
	To       int64     `json:"to"`
	Next     string    `json:"next"` // cursor at To
	Head     int64     `json:"head"`
	ServerMS int64     `json:"server_ms"`
	Records  []Record  `json:"-"`
	// Raw is the page as central signed it, to be handed on to peers; nil for one that
	// was not read from bytes.
	Raw []byte `json:"-"`
}

// PageFooter closes a page. Sum is the SHA-256 of the record lines, Sig the
// online key's signature of PagePreimage.
type PageFooter struct {
	Count int    `json:"count"`
	Sum   Hash   `json:"sum"`
	KeyID KeyID  `json:"kid"`
	Sig   []byte `json:"sig"`
}

// PagePreimage is what central's online key signs for a page.
func PagePreimage(p *Page, sum Hash, kid KeyID) []byte {
	return NewPreimage("gatehouse/page/v1").Bytes(p.Stream[:]).Int(p.From).Int(p.To).String(p.Next).
		Int(p.Head).Int(p.ServerMS).Bytes(sum[:]).Uint(uint64(kid)).Sum()
}

// PushRequest carries entries of one incarnation, gap-free from First. HeadSig is
// the owning device's signature of the position after the last entry. The device
// that pushes and the device that owns the chain may differ.
type PushRequest struct {
	Device      uuid.UUID `json:"device"`
	Incarnation uuid.UUID `json:"incarnation"`
	First       uint64    `json:"first"`
	Prev        Hash      `json:"prev"`
	Entries     []Entry   `json:"entries"`
	HeadSig     []byte    `json:"head_sig"`
}

// PushReply acknowledges everything up to Acked, durably.
type PushReply struct {
	Acked     Position `json:"acked"`
	BackoffMS int      `json:"backoff_ms,omitempty"`
}

// HeartbeatRequest is how a gate is; times are milliseconds, 0 where unknown.
type HeartbeatRequest struct {
	Incarnation uuid.UUID `json:"incarnation"`
	Unsent      int64     `json:"unsent"`
	OldestMS    int64     `json:"oldest_ms"`
	FsyncP99US  int64     `json:"fsync_p99_us"`
	FreeBytes   int64     `json:"free_bytes"`
	Cursor      string    `json:"cursor"`
	ClockMS     int64     `json:"clock_ms"`
	OffsetMS    int64     `json:"offset_ms"`
	ErrMS       int64     `json:"err_ms"`
	App         string    `json:"app"`
	// Journals says what the gate's journal holds, incarnation by incarnation: those
	// that central does not hold whole first, then the newest, at most
	// JournalReportsMax. A gate of an earlier version says nothing of it.
	Journals []JournalReport `json:"journals,omitempty"`
	// Check is how the gate's roster was when it was last compared with central's;
	// nil before the first time.
	Check *CheckState `json:"check,omitempty"`
}

// JournalReport is what a gate's disk holds of one incarnation of its journal.
type JournalReport struct {
	Incarnation uuid.UUID `json:"inc"`
	First       uint64    `json:"first"` // oldest entry that is kept
	Last        uint64    `json:"last"`  // newest that is durable
	// Admitted counts the entries from First to Last that let somebody in.
	Admitted int64 `json:"admitted"`
	// Shown counts the admissions that lanes have shown green, each after its entry
	// was durable. So it is never more than was journalled; an entry that reached the
	// disk just before the power went was not shown. It is nil for an incarnation of
	// before the gate's last start, of which only the journal is left.
	Shown *int64 `json:"shown,omitempty"`
}

// HeartbeatReply answers a heartbeat.
type HeartbeatReply struct {
	ServerMS    int64 `json:"server_ms"`
	Head        int64 `json:"head"`
	Quarantined bool  `json:"quarantined,omitempty"`
	// Acked is the watermark of each incarnation that the heartbeat reports, with Seq
	// 0 for one that central knows nothing of. A central that fell back to an earlier
	// state, by a failover or a backup, says so here to gates whose cursor is of before
	// that state, too: their pages go on as if nothing had happened. A central of an
	// earlier version says nothing of it.
	Acked []Position `json:"acked,omitempty"`
}
