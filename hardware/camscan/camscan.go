// Package camscan reads QR codes in pictures.
//
// No single way of telling black from white reads every picture, and one try
// at one picture misses even some clean ones. So a picture is tried in
// several ways, the cheapest first: against the local mean, against one
// threshold, inverted as a phone in dark mode shows it, at twice the size,
// smoothed to half the size. Each try finds the code or nothing: the error
// correction of QR codes keeps it from finding another.
//
// Pictures come from strangers: a poster held in front of a camera is one.
// The size of the file and of the picture are checked before it is decoded,
// a panic in a decoder is an error, and the time is bounded: by the context,
// by DecodeTimeMax, and by candidatesMax against pictures full of position
// patterns, over which the QR reader searches in cubic time.
package camscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // a format that DecodeImage reads
	_ "image/png"  // a format that DecodeImage reads
	"io"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// Limits of a picture. A photograph of 12 megapixels from a phone is within
// them.
const (
	ImageBytesMax  = 16 << 20
	ImageSideMax   = 8192
	ImagePixelsMax = 13 << 20
)

// DecodeTimeMax bounds how long a picture is tried, whatever its context
// says. A try that was begun by then is finished.
const DecodeTimeMax = 5 * time.Second

// candidatesMax is how many position patterns a try may find. A picture of
// one code holds three and a few false ones.
const candidatesMax = 200

// workSide is the longest side, in pixels, at which most tries are made. A
// larger picture is reduced to it first and tried in full last.
const workSide = 1600

// What may be wrong with a picture.
var (
	// ErrNoCode says that the picture is whole and shows no QR code that
	// can be read.
	ErrNoCode = errors.New("no QR code was found: take the picture closer, sharper and without glare")
	// ErrTooLarge says that the picture exceeds a limit.
	ErrTooLarge = errors.New("the picture is too large: reduce it to at most 13 megapixels, 8192 pixels a side and 16 MiB")
	// ErrTooSlow says that DecodeTimeMax was over before a code was found.
	ErrTooSlow = errors.New("the picture takes too long to read: cut it down to the code")
	// ErrNotImage says that the bytes are no whole PNG or JPEG.
	ErrNotImage = errors.New("this is not a whole PNG or JPEG picture")
)

// DecodeImage reads the QR code in a PNG or JPEG picture and returns its
// text, never empty. Of several codes it returns one. It fails with ErrNoCode,
// ErrTooLarge, ErrTooSlow, ErrNotImage, the error of r, or the cause of a
// context that ended before a code was found. It may be called from several
// goroutines.
func DecodeImage(ctx context.Context, r io.Reader) (text []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = nil, fmt.Errorf("decode picture: the decoder panicked: %v", p)
		}
	}()
	raw, err := io.ReadAll(io.LimitReader(r, ImageBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, DecodeTimeMax, ErrTooSlow)
	defer cancel()
	picture, err := decodePicture(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("decode picture: %w", err)
	}
	if text, err = climb(ctx, picture); err != nil {
		return nil, fmt.Errorf("look for a code: %w", err)
	}
	return text, nil
}

// decodePicture returns the picture in grey, if it is within the limits.
func decodePicture(ctx context.Context, raw []byte) (grey, error) {
	if len(raw) > ImageBytesMax {
		return grey{}, ErrTooLarge
	}
	header, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return grey{}, fmt.Errorf("%w: %w", ErrNotImage, err)
	}
	if header.Width > ImageSideMax || header.Height > ImageSideMax || header.Width*header.Height > ImagePixelsMax {
		return grey{}, ErrTooLarge
	}
	img, _, err := image.Decode(&watched{ctx: ctx, r: bytes.NewReader(raw)})
	if ctx.Err() != nil {
		return grey{}, context.Cause(ctx)
	}
	if err != nil {
		return grey{}, fmt.Errorf("%w: %w", ErrNotImage, err)
	}
	return newGrey(img), nil
}

// watched stops a picture decoder when the context ends: a small progressive
// JPEG can ask for hours of work, and goes on reading while it does.
type watched struct {
	ctx context.Context
	r   io.Reader
}

func (w *watched) Read(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(b)
}

// binarize tells black from white.
type binarize func(gozxing.LuminanceSource) gozxing.Binarizer

// rung is one try at a picture.
type rung struct {
	picture  func() grey
	binarize binarize
	inverted bool
}

// ladder lists the tries at a picture, by what they find for what they cost.
func ladder(full grey) []rung {
	work := full.reduced(max(1, (max(full.width, full.height)+workSide-1)/workSide))
	asIs := func() grey { return work }
	twice := func() grey { return work.doubled() }
	half := func() grey { return work.reduced(2) }
	rungs := []rung{
		{asIs, gozxing.NewHybridBinarizer, false},
		{asIs, gozxing.NewGlobalHistgramBinarizer, false},
		{asIs, gozxing.NewHybridBinarizer, true},
		{twice, gozxing.NewHybridBinarizer, false},
		{twice, gozxing.NewGlobalHistgramBinarizer, false},
		{half, gozxing.NewHybridBinarizer, false},
	}
	if work.width < full.width {
		rungs = append(rungs, rung{func() grey { return full }, gozxing.NewHybridBinarizer, false})
	}
	return rungs
}

// climb makes one try after another until one finds a code.
func climb(ctx context.Context, picture grey) ([]byte, error) {
	for _, r := range ladder(picture) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if text := r.try(ctx); text != "" {
			return []byte(text), nil
		}
	}
	return nil, ErrNoCode
}

// givenUp is panicked with to leave the search for position patterns.
type givenUp struct{}

// try returns the text of the code that this rung finds, or "". A failure of
// the reader, a panic too, is a try without a find.
func (r rung) try(ctx context.Context) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	picture := r.picture()
	source, err := gozxing.NewPlanarYUVLuminanceSource(picture.pix, picture.width, picture.height,
		0, 0, picture.width, picture.height, false)
	if err != nil {
		return ""
	}
	if r.inverted {
		source = source.Invert()
	}
	bitmap, err := gozxing.NewBinaryBitmap(r.binarize(source))
	if err != nil {
		return ""
	}
	candidates := 0
	var found gozxing.ResultPointCallback = func(gozxing.ResultPoint) {
		if candidates++; candidates > candidatesMax || ctx.Err() != nil {
			panic(givenUp{})
		}
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{
		gozxing.DecodeHintType_NEED_RESULT_POINT_CALLBACK: found,
	})
	if err != nil {
		return ""
	}
	return result.GetText()
}
