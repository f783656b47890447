package handout

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func key() []byte { return bytes.Repeat([]byte{7}, keyBytes) }

func TestALinkNamesATicketAndAnIssue(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("0190c4d2-7c5e-7a31-b6f0-1a2b3c4d5e6f")
	for _, issue := range []int{0, 1, 65535} {
		link, err := sealLink(key(), id, issue)
		require.NoError(t, err)
		require.Len(t, link, 46)
		gotID, gotIssue, err := openLink(key(), link)
		require.NoError(t, err)
		require.Equal(t, id, gotID)
		require.Equal(t, issue, gotIssue)
	}
	for _, issue := range []int{-1, 65536} {
		_, err := sealLink(key(), id, issue)
		require.Error(t, err)
	}
}

func TestNobodyMakesALinkHimself(t *testing.T) {
	t.Parallel()
	link, err := sealLink(key(), uuid.New(), 3)
	require.NoError(t, err)
	for i := range link {
		for _, other := range []byte("Aa0_") {
			forged := []byte(link)
			if forged[i] == other {
				continue
			}
			forged[i] = other
			_, _, err := openLink(key(), string(forged))
			require.ErrorIs(t, err, ErrLink, "character %d", i)
		}
	}
	_, _, err = openLink(bytes.Repeat([]byte{8}, keyBytes), link)
	require.ErrorIs(t, err, ErrLink, "of another central")
}

// FuzzLink: whatever opens is the very link that central makes of what it says.
func FuzzLink(f *testing.F) {
	link, err := sealLink(key(), uuid.MustParse("0190c4d2-7c5e-7a31-b6f0-1a2b3c4d5e6f"), 1)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{link, link + "=", link[:45], "", "../../etc/passwd", link + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, issue, err := openLink(key(), text)
		if err != nil {
			return
		}
		again, err := sealLink(key(), id, issue)
		if err != nil || again != text {
			t.Fatalf("%q opens, and %q is the link", text, again)
		}
	})
}
