package pass

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/go-text/typesetting/font"
	"github.com/stretchr/testify/require"
)

// glyphs are those of a text's one line, from left to right.
func glyphs(t *testing.T, text string) []font.GID {
	t.Helper()
	f, err := parseFonts()
	require.NoError(t, err)
	s := f.setter()
	lines := s.lines(text, s.regular, 12, 400, 1)
	require.Len(t, lines, 1)
	var out []font.GID
	for _, run := range lines[0].runs {
		for _, g := range run.Glyphs {
			out = append(out, g.GlyphID)
		}
	}
	return out
}

// shapes are the glyphs that a font has for characters, as they are.
func shapes(t *testing.T, chars string) []font.GID {
	t.Helper()
	f, err := parseFonts()
	require.NoError(t, err)
	var out []font.GID
	for _, r := range chars {
		g, ok := f.setter().regular.NominalGlyph(r)
		require.True(t, ok, "%q", r)
		out = append(out, g)
	}
	return out
}

// TestArabicIsJoinedAndGoesLeft: the presentation forms of Unicode name the joined shapes
// one by one, so that what was set can be compared with what has to be seen.
func TestArabicIsJoinedAndGoesLeft(t *testing.T) {
	t.Parallel()
	require.Equal(t, shapes(t, "\uFEAA\uFEE4\uFEA4\uFEE3"), glyphs(t, "محمد"), "dal final, meem medial, hah medial, meem initial, from the left")
	require.Equal(t, shapes(t, "\uFEFC\uFEB3"), glyphs(t, "سلا"), "lam and alef are one letter")
	require.Equal(t, shapes(t, "١٢٣"), glyphs(t, "١٢٣"), "numbers go right")
	require.Equal(t, append(shapes(t, "12 "), glyphs(t, "محمد")...), glyphs(t, "محمد 12"))
	require.Equal(t, append(shapes(t, "Ada "), glyphs(t, "محمد")...), glyphs(t, "Ada محمد"))
}

func TestTextBeginsWhereItsScriptDoes(t *testing.T) {
	t.Parallel()
	f, err := parseFonts()
	require.NoError(t, err)
	s := f.setter()
	for text, rtl := range map[string]bool{"Ada": false, "محمد": true, "שלום": true, "123": false, "(محمد)": true, "12 محمد": true, "A محمد": false} {
		require.Equal(t, rtl, s.lines(text, s.regular, 12, 400, 1)[0].rtl, text)
	}
}

func TestATextIsCutAndNotTheFrame(t *testing.T) {
	t.Parallel()
	f, err := parseFonts()
	require.NoError(t, err)
	s := f.setter()
	long := ""
	for range 100 {
		long += "Wolfeschlegelsteinhausen"
	}
	lines := s.lines(long, s.bold, 17, 300, 2)
	require.LessOrEqual(t, len(lines), 2)
	require.Empty(t, s.lines(" \n\t", s.bold, 17, 300, 2))
	for _, l := range lines {
		require.LessOrEqual(t, l.width, 300.0)
	}
}

func TestFontsAreThoseThatAreNamed(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile(filepath.Join("fonts", "VENDOR.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| (\S+\.ttf) .* ([0-9a-f]{64}) \|$`).FindAllStringSubmatch(string(list), -1)
	require.Len(t, rows, 2)
	for _, row := range rows {
		body, err := os.ReadFile(filepath.Join("fonts", row[1]))
		require.NoError(t, err)
		sum := sha256.Sum256(body)
		require.Equal(t, row[2], hex.EncodeToString(sum[:]), row[1])
	}
}
