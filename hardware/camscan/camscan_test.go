package camscan_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware/camscan"
	"gatehouse/hardware/qrdraw"
)

const ticketCode = "GA7K2MXQABCDEFGHIJKLMNOPQRSTUVWXYZ234567765432ZYXWVUTSRQPONMLKJIHGFEDCBA" +
	"QQ22RR33SS44TT55UU66VV77WW22XX33A2B3C4D5E6F7G2H3I4J5K6L7M2N3O4P5"

// qrencode draws text as another program does.
func qrencode(t *testing.T, text string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("qrencode"); err != nil {
		t.Fatal("install with: apt-get install -y qrencode zbar-tools")
	}
	cmd := exec.CommandContext(t.Context(), "qrencode", append(args, "-t", "PNG", "-o", "-")...)
	cmd.Stdin = strings.NewReader(text)
	picture, err := cmd.Output()
	require.NoError(t, err)
	return picture
}

func decode(t *testing.T, picture []byte) string {
	t.Helper()
	text, err := camscan.DecodeImage(t.Context(), bytes.NewReader(picture))
	require.NoError(t, err)
	return string(text)
}

func TestCodesOfAnotherProgramAreRead(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		"ticket": ticketCode,
		"short":  "A1",
		"bytes":  "https://example.org/t?id=1&x=2",
		"long":   strings.Repeat("GATEHOUSE", 60),
	}
	for name, text := range texts {
		for _, level := range []string{"L", "M", "Q", "H"} {
			for _, px := range []string{"2", "3", "4", "7", "12"} {
				t.Run(name+" "+level+" "+px, func(t *testing.T) {
					t.Parallel()
					require.Equal(t, text, decode(t, qrencode(t, text, "-l", level, "-s", px)))
				})
			}
		}
	}
}

// drawn is the ticket code at 6 pixels a module.
func drawn(t testing.TB) *image.Gray {
	t.Helper()
	m, err := qrdraw.Draw(ticketCode)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, qrdraw.PNG(&b, m, 6))
	img, err := png.Decode(&b)
	require.NoError(t, err)
	g := image.NewGray(img.Bounds())
	draw.Draw(g, g.Rect, img, image.Point{}, draw.Src)
	return g
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func asJPEG(t testing.TB, img image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}))
	return b.Bytes()
}

// mapped returns a picture of the size, in which each pixel is what at says.
func mapped(width, height int, at func(x, y int) color.Color) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, at(x, y))
		}
	}
	return img
}

func TestPicturesAsPeopleTakeThem(t *testing.T) {
	t.Parallel()
	code := drawn(t)
	side := code.Rect.Dx()
	in := func(left, top int, around color.Color) func(x, y int) color.Color {
		return func(x, y int) color.Color {
			if p := image.Pt(x-left, y-top); p.In(code.Rect) {
				return code.At(p.X, p.Y)
			}
			return around
		}
	}
	for name, picture := range map[string][]byte{
		"as drawn":    asPNG(t, code),
		"JPEG":        asJPEG(t, code, 75),
		"rough JPEG":  asJPEG(t, code, 10),
		"colour JPEG": asJPEG(t, mapped(640, 480, in(100, 60, color.NRGBA{200, 120, 40, 255})), 80),
		"upside down": asPNG(t, mapped(side, side, func(x, y int) color.Color { return code.At(side-1-x, side-1-y) })),
		"on its side": asPNG(t, mapped(side, side, func(x, y int) color.Color { return code.At(y, side-1-x) })),
		"dark mode":   asPNG(t, mapped(side, side, func(x, y int) color.Color { return color.Gray{255 - code.GrayAt(x, y).Y} })),
		"faint":       asPNG(t, mapped(side, side, func(x, y int) color.Color { return color.Gray{110 + code.GrayAt(x, y).Y/6} })),
		"shaded": asPNG(t, mapped(side, side, func(x, y int) color.Color {
			return color.Gray{uint8(int(code.GrayAt(x, y).Y) * (side + 2*x) / (3 * side))}
		})),
		"transparent": asPNG(t, mapped(side, side, func(x, y int) color.Color { return color.NRGBA{A: 255 - code.GrayAt(x, y).Y} })),
		"photograph":  asJPEG(t, mapped(4032, 3024, in(1500, 1200, color.NRGBA{90, 100, 80, 255})), 85),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, ticketCode, decode(t, picture))
		})
	}
}

func TestWhatShowsNoCode(t *testing.T) {
	t.Parallel()
	code := drawn(t)
	covered := mapped(code.Rect.Dx(), code.Rect.Dy(), func(x, y int) color.Color {
		if x < code.Rect.Dx()/2 {
			return color.White
		}
		return code.At(x, y)
	})
	for name, picture := range map[string]image.Image{
		"one pixel":    mapped(1, 1, func(int, int) color.Color { return color.Black }),
		"a line":       mapped(5000, 1, func(x, _ int) color.Color { return color.Gray{uint8(x)} }),
		"white":        mapped(400, 300, func(int, int) color.Color { return color.White }),
		"stripes":      mapped(420, 420, func(x, _ int) color.Color { return color.Gray{uint8(255 * (0b0100010 >> (x % 7) & 1))} }),
		"half covered": covered,
	} {
		_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(asPNG(t, picture)))
		require.ErrorIs(t, err, camscan.ErrNoCode, name)
	}
}

func TestAPosterOfPositionPatternsDoesNotStopTheLane(t *testing.T) {
	t.Parallel()
	// Each tile of 9 by 9 pixels is a position pattern: 4,900 of them, over
	// which a cubic search takes longer than DecodeTimeMax.
	rows := []uint{0b000000000, 0b011111110, 0b010000010, 0b010111010, 0b010111010, 0b010111010, 0b010000010, 0b011111110, 0b000000000}
	poster := mapped(630, 630, func(x, y int) color.Color { return color.Gray{uint8(255 * (1 - rows[y%9]>>(x%9)&1))} })
	_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(asPNG(t, poster)))
	require.ErrorIs(t, err, camscan.ErrNoCode)
}

// pngHeader is the beginning of a PNG that claims the size and has no pixels.
func pngHeader(t *testing.T, width, height int) []byte {
	t.Helper()
	whole := asPNG(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	img, err := png.DecodeConfig(bytes.NewReader(whole))
	require.NoError(t, err)
	require.Equal(t, 1, img.Width)
	return withSize(whole[:33], uint32(width), uint32(height))
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{camscan.ImageSideMax + 1, 1}, {1, camscan.ImageSideMax + 1}, {4096, 4096}, {1 << 20, 1 << 20}} {
		_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(pngHeader(t, size[0], size[1])))
		require.ErrorIs(t, err, camscan.ErrTooLarge, "%v", size)
	}
	// At the limit it is the missing pixels that are complained of.
	for _, size := range [][2]int{{camscan.ImageSideMax, 1}, {4096, camscan.ImagePixelsMax / 4096}} {
		_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(pngHeader(t, size[0], size[1])))
		require.ErrorIs(t, err, camscan.ErrNotImage, "%v", size)
	}

	code := asPNG(t, drawn(t))
	padded := append(code, make([]byte, camscan.ImageBytesMax-len(code))...)
	require.Equal(t, ticketCode, decode(t, padded))
	_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(append(padded, 0)))
	require.ErrorIs(t, err, camscan.ErrTooLarge)
	endless := readerFunc(func(b []byte) (int, error) { return len(b), nil })
	_, err = camscan.DecodeImage(t.Context(), endless)
	require.ErrorIs(t, err, camscan.ErrTooLarge)
}

func TestWhatIsNoPicture(t *testing.T) {
	t.Parallel()
	code := asPNG(t, drawn(t))
	for _, raw := range [][]byte{nil, []byte("GA7K"), code[:20], code[:len(code)/2], asJPEG(t, drawn(t), 80)[:900]} {
		_, err := camscan.DecodeImage(t.Context(), bytes.NewReader(raw))
		require.ErrorIs(t, err, camscan.ErrNotImage)
	}
	_, err := camscan.DecodeImage(t.Context(), iotest.ErrReader(io.ErrClosedPipe))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestAnEndedContextEndsTheSearch(t *testing.T) {
	t.Parallel()
	why := errors.New("the lane is closed")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := camscan.DecodeImage(ctx, bytes.NewReader(asPNG(t, drawn(t))))
	require.ErrorIs(t, err, why)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func FuzzDecodeImage(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := camscan.DecodeImage(t.Context(), bytes.NewReader(raw))
		if err != nil {
			require.Empty(t, text)
			require.NotContains(t, err.Error(), "panicked", strconv.Quote(string(raw)))
			return
		}
		require.NotEmpty(t, text)
	})
}

// FuzzPixels reaches the QR reader, which the checksums of PNG keep most
// damaged files from.
func FuzzPixels(f *testing.F) {
	m, err := qrdraw.Draw("GA7K")
	require.NoError(f, err)
	side := m.Size() + 2*qrdraw.QuietZone
	code := bytes.Repeat([]byte{255}, side*side)
	for i := range code {
		if m.Dark(i%side-qrdraw.QuietZone, i/side-qrdraw.QuietZone) {
			code[i] = 0
		}
	}
	f.Add(code, uint8(side-1), uint8(0))
	f.Add(code, uint8(side-1), uint8(3))
	f.Add(code[:len(code)/2], uint8(side-1), uint8(2))
	f.Fuzz(func(t *testing.T, pix []byte, width, px uint8) {
		w, p := int(width)+1, int(px)%4+1
		h := min(len(pix)/w, 256)
		if h == 0 {
			return
		}
		picture := mapped(w*p, h*p, func(x, y int) color.Color { return color.Gray{pix[y/p*w+x/p]} })
		text, err := camscan.DecodeImage(t.Context(), bytes.NewReader(asPNG(t, picture)))
		if err != nil {
			require.ErrorIs(t, err, camscan.ErrNoCode)
			return
		}
		require.NotEmpty(t, text)
	})
}
