package qrdraw_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware/qrdraw"
)

// ticketCode has the length and the alphabet of a ticket code.
const ticketCode = "GA7K2MXQ" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "765432ZYXWVUTSRQPONMLKJIHGFEDCBA" +
	"QQ22RR33SS44TT55UU66VV77WW22XX33" + "A2B3C4D5E6F7G2H3I4J5K6L7M2N3O4P5"

// texts are what the drawings are checked with.
func texts() map[string]string {
	return map[string]string{
		"ticket":         ticketCode,
		"one character":  "A",
		"alphanumeric":   "0123456789 ABCXYZ $%*+-./:",
		"bytes":          "https://example.org/t?id=1&x=äöü",
		"too big for Q8": strings.Repeat("K7", 120),
		"three thousand": strings.Repeat("X", 3000),
	}
}

// zbarimg reads a PNG as another program does.
func zbarimg(t *testing.T, picture []byte) string {
	t.Helper()
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Fatal("install with: apt-get install -y qrencode zbar-tools")
	}
	cmd := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", "--oneshot", "-Sdisable", "-Sqrcode.enable", "-")
	cmd.Stdin = bytes.NewReader(picture)
	out, err := cmd.Output()
	require.NoError(t, err, "zbarimg reads nothing")
	return strings.TrimSuffix(string(out), "\n")
}

func TestATicketCodeHas49ModulesAtQ(t *testing.T) {
	t.Parallel()
	require.Len(t, ticketCode, 136)
	m, err := qrdraw.Draw(ticketCode)
	require.NoError(t, err)
	require.Equal(t, 49, m.Size())
	require.Equal(t, "Q", m.Level())
}

func TestLevelGivesWayToSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: "Q", 157: "Q", 158: "M", 3391: "M"} {
		m, err := qrdraw.Draw(strings.Repeat("A", n))
		require.NoError(t, err)
		require.Equal(t, want, m.Level(), "%d characters", n)
		if want == "Q" {
			require.LessOrEqual(t, m.Size(), 49)
		}
	}
	for _, text := range []string{"", "\xff", strings.Repeat("A", 3392), strings.Repeat("a", 100_000)} {
		_, err := qrdraw.Draw(text)
		require.Error(t, err)
	}
}

func TestAnotherProgramReadsThePNG(t *testing.T) {
	t.Parallel()
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := qrdraw.Draw(text)
			require.NoError(t, err)
			for _, px := range []int{3, 8} {
				var b bytes.Buffer
				require.NoError(t, qrdraw.PNG(&b, m, px))
				require.Equal(t, text, zbarimg(t, b.Bytes()))
			}
		})
	}
}

func TestPNGIsTheMatrixOnWhite(t *testing.T) {
	t.Parallel()
	m, err := qrdraw.Draw(ticketCode)
	require.NoError(t, err)
	for _, px := range []int{1, 5} {
		var b bytes.Buffer
		require.NoError(t, qrdraw.PNG(&b, m, px))
		img, err := png.Decode(&b)
		require.NoError(t, err)
		require.Equal(t, image.Rect(0, 0, 57*px, 57*px), img.Bounds())
		for y := range 57 * px {
			for x := range 57 * px {
				dark := color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y == 0
				require.Equal(t, m.Dark(x/px-4, y/px-4), dark)
			}
		}
	}
	require.Error(t, qrdraw.PNG(&bytes.Buffer{}, m, 0))
	require.Error(t, qrdraw.PNG(&bytes.Buffer{}, m, qrdraw.ModulePxMax+1))
}

// rasterise fills the second path of an SVG by its own data, and returns it
// with px pixels a unit.
func rasterise(t *testing.T, svg []byte, px int) *image.Gray {
	t.Helper()
	var doc struct {
		ViewBox string `xml:"viewBox,attr"`
		Path    []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	require.NoError(t, xml.Unmarshal(svg, &doc))
	require.Len(t, doc.Path, 2)
	var side int
	_, err := fmt.Sscanf(doc.ViewBox, "0 0 %d", &side)
	require.NoError(t, err)
	img := image.NewGray(image.Rect(0, 0, side*px, side*px))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	run := regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)
	require.Empty(t, run.ReplaceAllString(doc.Path[1].D, ""), "nothing but runs")
	for _, match := range run.FindAllStringSubmatch(doc.Path[1].D, -1) {
		var n [4]int
		for i := range n {
			n[i], err = strconv.Atoi(match[i+1])
			require.NoError(t, err)
		}
		require.Equal(t, n[2], n[3])
		for y := n[1] * px; y < (n[1]+1)*px; y++ {
			for x := n[0] * px; x < (n[0]+n[2])*px; x++ {
				require.NotZero(t, img.Pix[y*img.Stride+x], "a module is drawn twice")
				img.Pix[y*img.Stride+x] = 0
			}
		}
	}
	return img
}

func TestTheSVGIsTheSameCode(t *testing.T) {
	t.Parallel()
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := qrdraw.Draw(text)
			require.NoError(t, err)
			var b bytes.Buffer
			require.NoError(t, qrdraw.SVG(&b, m))
			units := rasterise(t, b.Bytes(), 1)
			require.Equal(t, m.Size()+8, units.Rect.Dx())
			for y := range units.Rect.Dy() {
				for x := range units.Rect.Dx() {
					require.Equal(t, m.Dark(x-4, y-4), units.GrayAt(x, y).Y == 0, "module %d,%d", x, y)
				}
			}
			var picture bytes.Buffer
			require.NoError(t, png.Encode(&picture, rasterise(t, b.Bytes(), 4)))
			require.Equal(t, text, zbarimg(t, picture.Bytes()))
		})
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteErrorsAreReturned(t *testing.T) {
	t.Parallel()
	m, err := qrdraw.Draw("A")
	require.NoError(t, err)
	require.ErrorContains(t, qrdraw.SVG(full{}, m), "no space left")
	require.ErrorContains(t, qrdraw.PNG(full{}, m, 4), "no space left")
}
