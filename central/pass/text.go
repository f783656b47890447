package pass

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/bidi"
)

//go:embed fonts/DejaVuSans.ttf
var regularTTF []byte

//go:embed fonts/DejaVuSans-Bold.ttf
var boldTTF []byte

// textMax bounds a text that is drawn, in runes.
const textMax = 500

// fonts are the fonts, parsed. They are safe for concurrent use.
type fonts struct{ regular, bold *font.Font }

func parseFonts() (fonts, error) {
	var out fonts
	for _, f := range []struct {
		ttf []byte
		to  **font.Font
	}{{regularTTF, &out.regular}, {boldTTF, &out.bold}} {
		face, err := font.ParseTTF(bytes.NewReader(f.ttf))
		if err != nil {
			return out, fmt.Errorf("parse font: %w", err)
		}
		*f.to = face.Font
	}
	return out, nil
}

// setter sets text for one document. It is not safe for concurrent use.
type setter struct {
	regular, bold *font.Face
	shaper        shaping.HarfbuzzShaper
	segmenter     shaping.Segmenter
	wrapper       shaping.LineWrapper
}

func (f fonts) setter() *setter {
	return &setter{regular: font.NewFace(f.regular), bold: font.NewFace(f.bold)}
}

// one is a font map of one face.
type one struct{ face *font.Face }

// ResolveFace implements shaping.Fontmap.
func (o one) ResolveFace(rune) *font.Face { return o.face }

// line is one line of set text: runs in the order in which they are seen, from the left.
type line struct {
	runs  []shaping.Output
	width float64 // points
	rtl   bool    // the paragraph begins at the right
}

// lines sets a text at a size into lines no wider than width, both in points; what does
// not fit into most lines ends with an ellipsis.
func (s *setter) lines(text string, face *font.Face, size, width float64, most int) []line {
	runes := []rune(clean(text))
	if len(runes) > textMax {
		runes = append(runes[:textMax-1], '…')
	}
	if len(runes) == 0 {
		return nil
	}
	in := shaping.Input{
		Text: runes, RunEnd: len(runes), Direction: direction(runes), Face: face, Size: points(size), Language: language.NewLanguage("en"),
	}
	var shaped []shaping.Output
	for _, run := range slices.Clone(s.segmenter.Split(in, one{face})) {
		shaped = append(shaped, s.shaper.Shape(run))
	}
	ellipsis := shaping.Input{Text: []rune("…"), RunEnd: 1, Direction: in.Direction, Face: face, Size: in.Size, Script: language.Latin, Language: in.Language}
	config := shaping.WrapConfig{Direction: in.Direction, TruncateAfterLines: most}.WithTruncator(&s.shaper, ellipsis)
	wrapped, _ := s.wrapper.WrapParagraphF(config, points(width), runes, shaping.NewSliceIterator(shaped))
	var out []line
	for _, w := range wrapped {
		l := line{runs: slices.Clone(w), rtl: in.Direction == di.DirectionRTL}
		slices.SortFunc(l.runs, func(a, b shaping.Output) int { return int(a.VisualIndex - b.VisualIndex) })
		for i := range l.runs {
			l.width += inPoints(l.runs[i].Advance)
		}
		out = append(out, l)
	}
	return out
}

// clean is a text on one line, without what has no shape: controls could turn what
// follows around.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// direction is that of a paragraph: of its first letter that has one (UAX #9, P2 and P3).
func direction(runes []rune) di.Direction {
	for _, r := range runes {
		p, _ := bidi.LookupRune(r)
		switch p.Class() { //nolint:exhaustive // the strong ones
		case bidi.L:
			return di.DirectionLTR
		case bidi.R, bidi.AL:
			return di.DirectionRTL
		}
	}
	return di.DirectionLTR
}

// finer is by how much text is set larger than it is drawn, so that small letters are not
// spaced by whole steps.
const finer = 16

func points(p float64) fixed.Int26_6 { return fixed.Int26_6(p * 64 * finer) }

func inPoints(f fixed.Int26_6) float64 { return float64(f) / (64 * finer) }

// draw fills the outlines of a line's glyphs, beginning at x on the baseline y.
func (l *line) draw(pdf *fpdf.Fpdf, x, y float64) {
	for i := range l.runs {
		run := &l.runs[i]
		scale := inPoints(run.Size) / float64(run.Face.Upem())
		for _, g := range run.Glyphs {
			outline, ok := run.Face.GlyphDataOutline(g.GlyphID)
			if ok && len(outline.Segments) > 0 {
				fill(pdf, outline.Segments, x+inPoints(g.XOffset), y-inPoints(g.YOffset), scale)
			}
			x += inPoints(g.Advance)
		}
	}
}

// fill fills one outline, whose units are scaled, with its origin at x and y.
func fill(pdf *fpdf.Fpdf, segments []opentype.Segment, x, y, scale float64) {
	at := func(p opentype.SegmentPoint) (float64, float64) {
		return x + float64(p.X)*scale, y - float64(p.Y)*scale
	}
	for i, s := range segments {
		ax, ay := at(s.Args[0])
		bx, by := at(s.Args[1])
		cx, cy := at(s.Args[2])
		switch s.Op {
		case opentype.SegmentOpMoveTo:
			if i > 0 {
				pdf.ClosePath()
			}
			pdf.MoveTo(ax, ay)
		case opentype.SegmentOpLineTo:
			pdf.LineTo(ax, ay)
		case opentype.SegmentOpQuadTo:
			pdf.CurveTo(ax, ay, bx, by)
		case opentype.SegmentOpCubeTo:
			pdf.CurveBezierCubicTo(ax, ay, bx, by, cx, cy)
		}
	}
	pdf.ClosePath()
	pdf.DrawPath("f") // non-zero, as TrueType fills
}
