package programme

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Of everything that is stored, Rev rises with each change. Where a value is given to
// be stored, its Rev is the one that the caller last read, and a change since then
// makes it a [*StaleError]; 0 stores it whatever happened.

// Category sorts events: concert, exhibition, workshop.
type Category struct {
	ID   int64  `json:"id"`
	Rev  int64  `json:"rev"`
	Key  string `json:"key"` // lower case letters, digits, - and _
	Name string `json:"name"`
	Sort int    `json:"sort"` // categories are listed by it, then by name
}

// Venue is where an event is.
type Venue struct {
	ID        int64            `json:"id"`
	Rev       int64            `json:"rev"`
	Name      string           `json:"name"`
	Address   string           `json:"address"`
	Capacity  int              `json:"capacity"` // people; 0 is not limited
	Timezone  string           `json:"timezone"` // IANA name; empty: as the event has it
	Zones     []syncproto.Zone `json:"zones"`    // what a new event here begins with; may be none
	UpdatedAt time.Time        `json:"updated_at"`
}

// Stage is a place in a venue where one thing happens at a time.
type Stage struct {
	ID        int64     `json:"id"`
	Rev       int64     `json:"rev"`
	VenueID   int64     `json:"venue_id"`
	Name      string    `json:"name"` // its own within the venue
	Sort      int       `json:"sort"` // stages are listed by it, then by name
	UpdatedAt time.Time `json:"updated_at"`
}

// Link is a place on the web.
type Link struct {
	Label string `json:"label"`
	URL   string `json:"url"` // http or https
}

// Performer is who is on a stage: a band, a speaker.
type Performer struct {
	ID    int64  `json:"id"`
	Rev   int64  `json:"rev"`
	Name  string `json:"name"`
	Bio   string `json:"bio"`   // markdown, as it was written
	Image string `json:"image"` // media id or URL
	Links []Link `json:"links"`
}

// Named is something by its id and what people call it.
type Named struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Event is what people attend.
type Event struct {
	No           syncproto.EventNo `json:"id"`
	Rev          int64             `json:"rev"`
	Stream       uuid.UUID         `json:"-"` // its change log; ids of tickets derive from it
	Name         string            `json:"name"`
	Description  string            `json:"description"` // markdown, as it was written: whoever renders it sanitises
	Timezone     string            `json:"timezone"`
	StartsAt     time.Time         `json:"starts_at"` // zero: unbounded
	EndsAt       time.Time         `json:"ends_at"`   // zero: unbounded
	Venue        Venue             `json:"venue"`     // ID 0: none
	Category     string            `json:"category"`  // its key; empty: none
	Image        string            `json:"image"`     // media id or URL
	Gallery      []string          `json:"gallery"`   // media ids or URLs, in order
	Performers   []Named           `json:"performers"`
	Requirements string            `json:"requirements"`
	Notes        string            `json:"notes"`    // for staff only
	Capacity     int               `json:"capacity"` // people in all, whatever the quotas; 0 is not limited
	Policy       syncproto.Policy  `json:"policy"`
	Status       Status            `json:"status"`
	UID          uuid.UUID         `json:"uid"`      // in calendars
	Sequence     int               `json:"sequence"` // in calendars
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
}

// Details is an event with all that belongs to it but its sessions.
type Details struct {
	Event
	Zones []Zone       `json:"zones"`
	Types []TicketType `json:"ticket_types"`
}

// EventInput is what an organiser says of an event. No partition is open.
type EventInput struct {
	Name         string
	Description  string
	Timezone     string
	Starts       When
	Ends         When
	VenueID      int64 // 0: none
	Category     string
	Image        string
	Gallery      []string
	Performers   []int64 // in order
	Requirements string
	Notes        string
	Capacity     int
	Policy       syncproto.Policy
}

// Zone is an area of an event. Its name never changes: lanes, journals and the states
// of tickets know it by that.
type Zone struct {
	Rev    int64  `json:"rev"`
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
	Sort   int    `json:"sort"` // zones are listed by it
}

// TypeInput is a ticket type as an organiser gives it. Price is in the smallest unit
// of the currency.
type TypeInput struct {
	Key           string
	Name          string // empty: the key
	Description   string
	Zones         []string // none: all
	ValidFrom     When
	ValidUntil    When
	EntriesTotal  int
	EntriesPerDay int
	Reentry       syncproto.Reentry // empty: none
	Quota         int
	Price         int64
	Currency      string // ISO 4217; required with a price
	SalesFrom     When
	SalesUntil    When
	OrderMin      int // 0: 1
	OrderMax      int // 0: not limited
}

// Session is a scheduled part of an event, with the names that a schedule shows.
type Session struct {
	ID          int64             `json:"id"`
	Rev         int64             `json:"rev"`
	Event       syncproto.EventNo `json:"event"`
	EventName   string            `json:"event_name"`
	EventStatus Status            `json:"event_status"`
	Title       string            `json:"title"`
	Description string            `json:"description"` // markdown, as it was written
	Stage       Named             `json:"stage"`       // ID 0: none yet
	Venue       Named             `json:"venue"`       // the stage's, or else the event's; ID 0: none
	Timezone    string            `json:"timezone"`    // the venue's, or else the event's
	Performers  []Named           `json:"performers"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      time.Time         `json:"ends_at"`
	Cancelled   bool              `json:"cancelled"`
	UID         uuid.UUID         `json:"uid"`      // in calendars
	Sequence    int               `json:"sequence"` // in calendars
	UpdatedAt   time.Time         `json:"updated_at"`
}

// SessionInput is what an organiser says of a session. Local times are those of the
// event.
type SessionInput struct {
	Title       string
	Description string
	StageID     int64   // 0: none yet
	Performers  []int64 // in order
	Starts      When
	Ends        When
	Cancelled   bool
}
