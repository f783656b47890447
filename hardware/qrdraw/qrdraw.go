// Package qrdraw draws QR codes (ISO/IEC 18004) as SVG and PNG: for central's
// tickets and for a gate's walk-up tickets.
//
// Glare and dirt are beaten by error correction, distance, blur and tilt by
// few modules. So a code is drawn at level Q where that takes at most 49
// modules a side, and at level M otherwise. Upper-case letters, digits and
// the signs of the alphanumeric mode take 5.5 bits each, anything else 8: a
// ticket code of 136 characters of upper-case base32 has 49 modules at Q.
//
// Codes are black on white with the quiet zone of four modules that the
// standard asks for, whatever colours surround them: many scanners do not
// read inverted codes.
package qrdraw

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// QuietZone is the width of the white border, in modules.
const QuietZone = 4

// ModulePxMax is the largest module that PNG draws: a code of the largest
// size is then 11840 pixels wide.
const ModulePxMax = 64

// denseSize is the side in modules up to which level Q is worth its modules.
const denseSize = 49

// Matrix is a QR code without its quiet zone. It does not change once drawn,
// and may be shared. The zero value is no code.
type Matrix struct {
	size  int
	level string
	dark  []bool // row by row
}

// Draw encodes text. It fails if text is empty, is not UTF-8, or does not fit
// into the largest QR code at level M.
func Draw(text string) (Matrix, error) {
	if text == "" || !utf8.ValidString(text) {
		return Matrix{}, errors.New("draw QR code: there is no text, or it is not UTF-8")
	}
	dense, err := encode(text, "Q")
	if err == nil && dense.size <= denseSize {
		return dense, nil
	}
	m, err := encode(text, "M")
	if err != nil {
		return Matrix{}, fmt.Errorf("draw QR code of %d bytes: %w", len(text), err)
	}
	return m, nil
}

// encode draws text at an error correction level, one pixel a module.
func encode(text, level string) (Matrix, error) {
	hints := map[gozxing.EncodeHintType]any{
		gozxing.EncodeHintType_ERROR_CORRECTION: level,
		gozxing.EncodeHintType_MARGIN:           0,
	}
	if !ascii(text) {
		// Readers guess the character set of bytes that do not name it.
		hints[gozxing.EncodeHintType_CHARACTER_SET] = "UTF-8"
	}
	bits, err := qrcode.NewQRCodeWriter().Encode(text, gozxing.BarcodeFormat_QR_CODE, 0, 0, hints)
	if err != nil {
		return Matrix{}, err
	}
	m := Matrix{size: bits.GetWidth(), level: level}
	for y := range m.size {
		for x := range m.size {
			m.dark = append(m.dark, bits.Get(x, y))
		}
	}
	return m, nil
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// Size is the side in modules, without the quiet zone.
func (m Matrix) Size() int { return m.size }

// Level is the error correction level, "Q" or "M".
func (m Matrix) Level() string { return m.level }

// Dark tells whether the module at column x, row y is black. Everything
// outside the code is white.
func (m Matrix) Dark(x, y int) bool {
	return 0 <= x && x < m.size && 0 <= y && y < m.size && m.dark[y*m.size+x]
}

// SVG writes the code as an SVG element with its quiet zone, one unit a
// module, for a file of its own or in the middle of HTML. It has no size of
// its own: it fills what it is put into.
func SVG(w io.Writer, m Matrix) error {
	var b bytes.Buffer
	side := strconv.Itoa(m.size + 2*QuietZone)
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ` + side + ` ` + side + `" shape-rendering="crispEdges">` +
		`<path fill="#fff" d="M0 0h` + side + `v` + side + `H0z"/><path d="`)
	for y := range m.size {
		for x := 0; x < m.size; x++ {
			if !m.Dark(x, y) {
				continue
			}
			run := 1
			for m.Dark(x+run, y) {
				run++
			}
			fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+QuietZone, y+QuietZone, run, run)
			x += run
		}
	}
	b.WriteString(`"/></svg>` + "\n")
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write QR code as SVG: %w", err)
	}
	return nil
}

// PNG writes the code with its quiet zone as a black and white image, in
// which a module is modulePx pixels wide, from 1 to ModulePxMax.
func PNG(w io.Writer, m Matrix, modulePx int) error {
	if modulePx < 1 || modulePx > ModulePxMax {
		return fmt.Errorf("write QR code as PNG: a module of %d pixels: choose 1 to %d", modulePx, ModulePxMax)
	}
	side := (m.size + 2*QuietZone) * modulePx
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if m.Dark(x/modulePx-QuietZone, y/modulePx-QuietZone) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	if err := png.Encode(w, img); err != nil {
		return fmt.Errorf("write QR code as PNG: %w", err)
	}
	return nil
}
