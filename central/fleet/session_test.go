package fleet

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// box is what a gate keeps of its session on its disk.
type box struct {
	ratchet     int64
	incarnation uuid.UUID
}

func boot(b *box) { b.incarnation = uuid.New() }

func TestHonestGateIsNeverSuspected(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var central, backup session
		gate := box{incarnation: uuid.New()}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"hello", "lost request", "lost reply", "reboot", "backup", "restore"}).Draw(t, "step") {
			case "hello":
				next, suspicion := central.hello(gate.ratchet, gate.incarnation)
				require.Empty(t, suspicion)
				central, gate.ratchet = next, next.ratchet
			case "lost reply":
				next, suspicion := central.hello(gate.ratchet, gate.incarnation)
				require.Empty(t, suspicion)
				central = next
			case "reboot":
				boot(&gate)
			case "backup":
				backup = central
			case "restore":
				central = backup
			}
			require.LessOrEqual(t, len(central.superseded), supersededMax)
		}
	})
}

func TestCloneIsFoundAtTheThirdHello(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var central session
		original := box{incarnation: uuid.New()}
		say := func(b *box) (suspicion string) {
			central, suspicion = central.hello(b.ratchet, b.incarnation)
			b.ratchet = central.ratchet
			return suspicion
		}
		for range rapid.IntRange(0, 10).Draw(t, "hellos before") {
			require.Empty(t, say(&original))
		}
		clone := original
		boot(&clone)
		suspicions := ""
		for _, b := range []*box{&original, &clone, &original} {
			suspicions += say(b)
		}
		require.NotEmpty(t, suspicions)
	})
}

func TestRewoundGateIsFoundByItsRatchet(t *testing.T) {
	t.Parallel()
	central := session{ratchet: 9, incarnation: uuid.New()}
	for shown, suspect := range map[int64]bool{0: true, 7: true, 8: false, 9: false, 10: false} {
		next, suspicion := central.hello(shown, uuid.New())
		require.Equal(t, suspect, suspicion != "", shown)
		require.Equal(t, max(central.ratchet, shown+1), next.ratchet, "an answer is never one that was given before the last")
	}
}

func TestSupersededIncarnationsAreBounded(t *testing.T) {
	t.Parallel()
	var central session
	first := uuid.New()
	central, _ = central.hello(0, first)
	for range supersededMax {
		central, _ = central.hello(central.ratchet, uuid.New())
	}
	require.Len(t, central.superseded, supersededMax)
	_, suspicion := central.hello(central.ratchet, first)
	require.NotEmpty(t, suspicion)
	central, _ = central.hello(central.ratchet, uuid.New())
	require.Len(t, central.superseded, supersededMax)
	_, suspicion = central.hello(central.ratchet, first)
	require.Empty(t, suspicion, "beyond the limit the oldest is forgotten")
}

func TestOnlyCentralMakesRatchets(t *testing.T) {
	t.Parallel()
	secret, device := []byte("secret"), uuid.New()
	value, ok := parseRatchet(secret, device, ratchetText(secret, device, 7))
	require.True(t, ok)
	require.Equal(t, int64(7), value)
	value, ok = parseRatchet(secret, device, "")
	require.True(t, ok)
	require.Zero(t, value)
	for _, text := range []string{
		ratchetText([]byte("other"), device, 7), ratchetText(secret, uuid.New(), 7), ratchetText(secret, device, 0), ratchetText(secret, device, -1),
		"8" + ratchetText(secret, device, 7)[1:], "7", "7.", "x", ".", "07" + ratchetText(secret, device, 7)[1:],
	} {
		_, ok := parseRatchet(secret, device, text)
		require.False(t, ok, text)
	}
}
