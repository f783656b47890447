package syncproto

// Reason says why a scan was answered as it was. The list is append-only: codes
// are stored in journals, so a code never changes its meaning. A reason that a
// newer version added is carried through unchanged by an older one.
type Reason string

// The reason codes, in the order in which they were introduced.
const (
	ReasonAdmitted      Reason = "admitted"
	ReasonReentry       Reason = "reentry"
	ReasonExited        Reason = "exited"
	ReasonSameCode      Reason = "same_code"
	ReasonDuplicate     Reason = "duplicate"
	ReasonUnknown       Reason = "unknown"
	ReasonMalformed     Reason = "malformed"
	ReasonBadSignature  Reason = "bad_signature"
	ReasonWrongEvent    Reason = "wrong_event"
	ReasonWrongZone     Reason = "wrong_zone"
	ReasonRevoked       Reason = "revoked"
	ReasonUnpaid        Reason = "unpaid"
	ReasonCancelled     Reason = "cancelled"
	ReasonTooEarly      Reason = "too_early"
	ReasonTooLate       Reason = "too_late"
	ReasonDayLimit      Reason = "day_limit"
	ReasonTotalLimit    Reason = "total_limit"
	ReasonMustExitFirst Reason = "must_exit_first"
	ReasonNotInside     Reason = "not_inside"
	ReasonOverride      Reason = "override"
	ReasonEmergency     Reason = "emergency"
	ReasonDeviceFault   Reason = "device_fault"
	ReasonNotReady      Reason = "not_ready"
	ReasonLaneFault     Reason = "lane_fault"
	ReasonHomeGate      Reason = "home_gate"
	ReasonPeersAway     Reason = "peers_away"
	ReasonIncomplete    Reason = "incomplete"
)

// Reasons lists every code this version knows, in append-only order.
func Reasons() []Reason {
	return []Reason{
		ReasonAdmitted, ReasonReentry, ReasonExited, ReasonSameCode, ReasonDuplicate, ReasonUnknown, ReasonMalformed,
		ReasonBadSignature, ReasonWrongEvent, ReasonWrongZone, ReasonRevoked, ReasonUnpaid, ReasonCancelled,
		ReasonTooEarly, ReasonTooLate, ReasonDayLimit, ReasonTotalLimit, ReasonMustExitFirst, ReasonNotInside,
		ReasonOverride, ReasonEmergency, ReasonDeviceFault, ReasonNotReady, ReasonLaneFault, ReasonHomeGate, ReasonPeersAway,
		ReasonIncomplete,
	}
}

// Sentence is what a member of the gate staff reads: what is the matter and,
// where there is something to do, what to do. An unknown code gets a sentence
// that sends the guest to a supervisor.
func (r Reason) Sentence() string {
	if s, ok := sentences()[r]; ok {
		return s
	}
	return "Refused for a reason this gate does not know. Ask a supervisor."
}

func sentences() map[Reason]string {
	return map[Reason]string{
		ReasonAdmitted:      "Welcome. Let the guest through.",
		ReasonReentry:       "Welcome back. Let the guest through.",
		ReasonExited:        "Goodbye. The guest has left.",
		ReasonSameCode:      "Same ticket, just scanned. The last answer stands.",
		ReasonDuplicate:     "This ticket has already been used.",
		ReasonUnknown:       "This ticket is not known here. Ask for another code or call a supervisor.",
		ReasonMalformed:     "This is not one of our codes. Ask for the ticket's QR code.",
		ReasonBadSignature:  "This code is forged or damaged. Call a supervisor.",
		ReasonWrongEvent:    "This ticket is for another event.",
		ReasonWrongZone:     "This ticket does not open this area.",
		ReasonRevoked:       "This ticket has been withdrawn or replaced by a newer one. Ask for the newest code.",
		ReasonUnpaid:        "This ticket is not paid yet. Send the guest to the ticket desk.",
		ReasonCancelled:     "This ticket was cancelled. Send the guest to the ticket desk.",
		ReasonTooEarly:      "This ticket is not valid yet.",
		ReasonTooLate:       "This ticket is no longer valid.",
		ReasonDayLimit:      "All entries for today are used.",
		ReasonTotalLimit:    "All entries on this ticket are used.",
		ReasonMustExitFirst: "This ticket is already inside. It must leave before it can enter again.",
		ReasonNotInside:     "This ticket is not inside. Check that this is the right lane.",
		ReasonOverride:      "A supervisor decided.",
		ReasonEmergency:     "Emergency opening.",
		ReasonDeviceFault:   "This gate cannot record admissions. It is not the guest's fault: use another lane and call support.",
		ReasonLaneFault:     "This lane is not set up for this event. It is not the guest's fault: use another lane and call support.",
		ReasonHomeGate:      "The gates cannot hear each other, so this ticket enters at its home gate only. Send the guest there.",
		ReasonPeersAway:     "The gates cannot hear each other, and this event then admits nobody here. Call a supervisor.",
		ReasonIncomplete:    "Answers are missing on this ticket. Ask the guest to give them on the ticket page, or at the ticket desk.",
		ReasonNotReady:      "This gate has no ticket list yet. It is not the guest's fault: use another lane.",
	}
}
