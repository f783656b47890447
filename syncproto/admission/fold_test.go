package admission_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

var (
	gateA = uuid.MustParse("01890000-0000-7000-8000-00000000000a")
	gateB = uuid.MustParse("01890000-0000-7000-8000-00000000000b")
)

func fact(inc uuid.UUID, seq uint64, kind syncproto.Kind, at string, more ...func(*admission.Fact)) admission.Fact {
	f := admission.Fact{Ref: syncproto.Ref{Incarnation: inc, Seq: seq}, T: syncproto.HLCAt(berlin(at)), MS: berlin(at).UnixMilli(), Kind: kind, Zone: "main"}
	for _, m := range more {
		m(&f)
	}
	return f
}

func outcomes(s admission.State) []syncproto.Outcome {
	var out []syncproto.Outcome
	for _, v := range s.Verdicts {
		out = append(out, v.Outcome)
	}
	return out
}

func TestTwoGatesThatCouldNotHearEachOther(t *testing.T) {
	a := fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 10:00")
	b := fact(gateB, 1, syncproto.KindAdmit, "2026-07-10 10:05")
	s := admission.Fold(rules(t), paid(typeDay), []admission.Fact{b, a})
	require.Equal(t, []syncproto.Outcome{syncproto.OutcomeFirst, syncproto.OutcomeDuplicate}, outcomes(s))
	require.Equal(t, a.Ref, s.Verdicts[1].Of)
	require.Equal(t, 2, s.Admissions, "both are facts")
	require.Equal(t, 1, s.Doubles)
	unsure := func(f *admission.Fact) { f.ErrMS = 200_000 }
	a, b = fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 10:00", unsure), fact(gateB, 1, syncproto.KindAdmit, "2026-07-10 10:05", unsure)
	s = admission.Fold(rules(t), paid(typeDay), []admission.Fact{a, b})
	require.Equal(t, syncproto.OutcomeConcurrent, s.Verdicts[1].Outcome, "the clocks cannot tell which was first")
}

func TestOutcomesOfFacts(t *testing.T) {
	at := "2026-07-10 10:00"
	revoked := paid(typeDay)
	revoked.Status, revoked.StatusAt = syncproto.StatusRevoked, berlin("2026-07-10 10:00").UnixMilli()
	for _, c := range []struct {
		name string
		tk   admission.Ticket
		f    admission.Fact
		want syncproto.Outcome
	}{
		{"plain", paid(typeDay), fact(gateA, 1, syncproto.KindAdmit, at), syncproto.OutcomeFirst},
		{"before the revocation", revoked, fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 09:59"), syncproto.OutcomeFirst},
		{"after the revocation", revoked, fact(gateA, 1, syncproto.KindAdmit, at), syncproto.OutcomeAfterRevocation},
		{"ticket central never made", admission.Ticket{No: 7}, fact(gateA, 1, syncproto.KindAdmit, at), syncproto.OutcomeUnknownTicket},
		{"outside its window", paid(typeWindow), fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 09:00"), syncproto.OutcomeRuleViolation},
		{"zone that is not its own", paid(typeDay), fact(gateA, 1, syncproto.KindAdmit, at, func(f *admission.Fact) { f.Zone = "vip" }), syncproto.OutcomeRuleViolation},
		{"supervisor", paid(typeDay), fact(gateA, 1, syncproto.KindOverride, at), syncproto.OutcomeOverride},
		{"stolen gate", paid(typeDay), fact(gateA, 1, syncproto.KindAdmit, at, func(f *admission.Fact) { f.Untrusted = true }), syncproto.OutcomeUntrusted},
	} {
		s := admission.Fold(rules(t), c.tk, []admission.Fact{c.f})
		require.Equal(t, []syncproto.Outcome{c.want}, outcomes(s), c.name)
	}
}

func TestClosingAnEventDoesNotMakeItsAdmissionsWrong(t *testing.T) {
	closed := rules(t, func(r *syncproto.Rules) { r.Admits = false })
	s := admission.Fold(closed, paid(typeDay), []admission.Fact{fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 10:00")})
	require.Equal(t, []syncproto.Outcome{syncproto.OutcomeFirst}, outcomes(s))
}

// A box whose clock was a day ahead until it heard central: its order stays ahead,
// its times do not.
func TestTimesAreJudgedByTheClockAndNotByTheOrder(t *testing.T) {
	f := fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 11:00", func(f *admission.Fact) { f.T = syncproto.HLCAt(berlin("2026-07-11 11:00")) })
	s := admission.Fold(rules(t), paid(typeWindow), []admission.Fact{f})
	require.Equal(t, []syncproto.Outcome{syncproto.OutcomeFirst}, outcomes(s))
}

func TestUndoWinsOverItsTargetOnly(t *testing.T) {
	first := fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 10:00")
	undo := fact(gateA, 2, syncproto.KindUndo, "2026-07-10 10:01", func(f *admission.Fact) { f.Of = first.Ref })
	later := fact(gateA, 3, syncproto.KindAdmit, "2026-07-10 10:02")
	s := admission.Fold(rules(t), paid(typeDay), []admission.Fact{later, undo, first})
	require.Equal(t, []syncproto.Outcome{syncproto.OutcomeUndone, syncproto.OutcomeFirst}, outcomes(s))
	require.Equal(t, 1, s.Admissions)
}

func TestUntrustedEntriesMoveNobody(t *testing.T) {
	untrusted := func(f *admission.Fact) { f.Untrusted = true }
	s := admission.Fold(rules(t), paid(typeDay), []admission.Fact{
		fact(gateA, 1, syncproto.KindAdmit, "2026-07-10 10:00", untrusted),
		fact(gateB, 1, syncproto.KindAdmit, "2026-07-10 11:00"),
		fact(gateA, 2, syncproto.KindExit, "2026-07-10 12:00", untrusted),
		fact(gateA, 3, syncproto.KindUndo, "2026-07-10 13:00", untrusted, func(f *admission.Fact) { f.Of = syncproto.Ref{Incarnation: gateB, Seq: 1} }),
	})
	require.Equal(t, []syncproto.Outcome{syncproto.OutcomeUntrusted, syncproto.OutcomeFirst}, outcomes(s))
	require.True(t, s.Inside)
}

func anyFacts() *rapid.Generator[[]admission.Fact] {
	one := rapid.Custom(func(t *rapid.T) admission.Fact {
		ref := func(label string) syncproto.Ref {
			return syncproto.Ref{Incarnation: rapid.SampledFrom([]uuid.UUID{gateA, gateB}).Draw(t, label), Seq: rapid.Uint64Range(1, 8).Draw(t, label+" seq")}
		}
		// What a Ref names is one fact: everything else is drawn from it.
		r := ref("of entry")
		n := int(r.Seq) + int(r.Incarnation[15])
		kinds := []syncproto.Kind{syncproto.KindAdmit, syncproto.KindExit, syncproto.KindAdmit, syncproto.KindUndo, syncproto.KindOverride}
		return admission.Fact{
			Ref: r, Kind: kinds[n%len(kinds)], Zone: []string{"main", "vip", "camping", "gone"}[n/3%4],
			T:     syncproto.HLCAt(berlin("2026-07-10 22:00").Add(time.Duration(n*37%11) * 20 * time.Minute)),
			MS:    berlin("2026-07-10 22:00").Add(time.Duration(n*41%13) * 20 * time.Minute).UnixMilli(),
			ErrMS: int64(n % 3 * 100_000), Of: syncproto.Ref{Incarnation: gateA, Seq: uint64(n%5 + 1)}, Untrusted: n%7 == 0,
		}
	})
	return rapid.SliceOfN(one, 0, 24)
}

func anyTicket() *rapid.Generator[admission.Ticket] {
	return rapid.Custom(func(t *rapid.T) admission.Ticket {
		tk := paid(syncproto.TypeNo(rapid.IntRange(0, 8).Draw(t, "type")))
		tk.Known = rapid.Bool().Draw(t, "known")
		tk.Status = rapid.SampledFrom([]syncproto.Status{syncproto.StatusPaid, syncproto.StatusPaid, syncproto.StatusRevoked, syncproto.StatusUnpaid}).Draw(t, "status")
		tk.StatusAt = berlin("2026-07-10 23:00").UnixMilli()
		return tk
	})
}

func TestFoldIsIndependentOfOrderAndRepetition(t *testing.T) {
	r := rules(t)
	rapid.Check(t, func(t *rapid.T) {
		facts, tk := anyFacts().Draw(t, "facts"), anyTicket().Draw(t, "ticket")
		want := admission.Fold(r, tk, facts)
		shuffled := rapid.Permutation(facts).Draw(t, "order")
		require.Equal(t, want, admission.Fold(r, tk, shuffled), "order")
		again := append(append([]admission.Fact{}, shuffled...), facts...)
		require.Equal(t, want, admission.Fold(r, tk, again), "repetition")
		seen := map[syncproto.Ref]bool{}
		for _, v := range want.Verdicts {
			require.False(t, seen[v.Ref], "one verdict for each admission")
			require.NotEmpty(t, v.Outcome)
			seen[v.Ref] = true
		}
	})
}

// Taking an entry back is as if it had never been made, for usage and for what is
// said of all others, whenever that arrives.
func TestUndoIsAsIfItsTargetHadNeverBeen(t *testing.T) {
	r := rules(t)
	rapid.Check(t, func(t *rapid.T) {
		facts, tk := anyFacts().Draw(t, "facts"), anyTicket().Draw(t, "ticket")
		if len(facts) == 0 {
			return
		}
		target := rapid.SampledFrom(facts).Draw(t, "target")
		if target.Kind == syncproto.KindUndo {
			return // undoing an undo has no effect
		}
		undo := admission.Fact{Ref: syncproto.Ref{Incarnation: gateB, Seq: 99}, T: target.T + 1, Kind: syncproto.KindUndo, Of: target.Ref}
		with := admission.Fold(r, tk, rapid.Permutation(append([]admission.Fact{undo}, facts...)).Draw(t, "order"))
		without := admission.Fold(r, tk, slices.DeleteFunc(slices.Clone(facts), func(f admission.Fact) bool { return f.Ref == target.Ref }))
		require.Equal(t, without.Usage, with.Usage)
		others := slices.DeleteFunc(with.Verdicts, func(j admission.Judgement) bool { return j.Ref == target.Ref })
		require.Len(t, others, len(without.Verdicts))
		for i := range others {
			require.Equal(t, without.Verdicts[i], others[i])
		}
	})
}

// With one gate, whatever Decide allowed is a first entry or a permitted
// re-entry in the fold, and the usage it kept step by step is the fold's.
func TestFoldAgreesWithDecideAtOneGate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newGate(t, paid(syncproto.TypeNo(rapid.IntRange(1, 7).Draw(rt, "type"))))
		at := berlin("2026-03-28 20:00")
		for range rapid.IntRange(0, 30).Draw(rt, "scans") {
			at = at.Add(time.Duration(rapid.IntRange(0, 400).Draw(rt, "minutes")) * time.Minute)
			zone := rapid.SampledFrom([]string{"main", "main", "vip", "camping"}).Draw(rt, "zone")
			dir := rapid.SampledFrom([]syncproto.Direction{syncproto.In, syncproto.In, syncproto.Out}).Draw(rt, "direction")
			g.scan(zone, dir, at)
		}
		s := admission.Fold(g.rules, g.tk, rapid.Permutation(g.facts).Draw(rt, "order"))
		for _, v := range s.Verdicts {
			require.Contains(rt, []syncproto.Outcome{syncproto.OutcomeFirst, syncproto.OutcomeReentry}, v.Outcome)
		}
		require.Equal(rt, g.usage, s.Usage)
	})
}
