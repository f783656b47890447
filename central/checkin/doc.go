// Package checkin takes in the journals of gates and keeps what follows from
// them: the verdict on each admission, the state of each ticket, and the counts.
//
// Facts are stored, then judged. A push is taken whole or not at all, and never
// refused because an admission breaks a rule: the entry is stored and the fold
// (admission.Fold, the same code that gates run) says what it was. What the fold
// says is derived and can be rebuilt.
//
// Invariants: central holds each incarnation's entries from 1 to its watermark
// without a gap, each once, as the gate signed them; one (incarnation, seq) has
// one hash for ever; an acknowledged entry is in a committed transaction; the
// stored verdicts and states are those of a fold from scratch, within a moment of
// any change of tickets or rules. DESIGN.md has the reasons.
package checkin
