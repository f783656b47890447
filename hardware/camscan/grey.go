package camscan

import (
	"image"
)

// grey is a picture in shades of grey, 0 black and 255 white, row by row.
type grey struct {
	width, height int
	pix           []byte
}

// newGrey takes the brightness of a picture, on white where it is
// transparent.
func newGrey(img image.Image) grey {
	b := img.Bounds()
	g := grey{width: b.Dx(), height: b.Dy(), pix: make([]byte, b.Dx()*b.Dy())}
	switch img := img.(type) {
	case *image.Gray:
		g.copyPlane(img.Pix, img.Stride)
	case *image.YCbCr:
		g.copyPlane(img.Y, img.YStride)
	default:
		for i := range g.pix {
			red, green, blue, alpha := img.At(b.Min.X+i%g.width, b.Min.Y+i/g.width).RGBA()
			g.pix[i] = byte(((red+2*green+blue)/4 + 0xffff - alpha) >> 8)
		}
	}
	return g
}

// copyPlane takes the rows of a plane that begins at the picture's origin, as
// decoders make them.
func (g grey) copyPlane(plane []byte, stride int) {
	for y := range g.height {
		copy(g.pix[y*g.width:(y+1)*g.width], plane[y*stride:])
	}
}

// reduced returns the picture at 1/n of its size, each pixel the mean of n by
// n. A rest at the right and at the bottom is left out. The picture itself is
// returned if there would be nothing left, or for n = 1.
func (g grey) reduced(n int) grey {
	small := grey{width: g.width / n, height: g.height / n}
	if n == 1 || small.width == 0 || small.height == 0 {
		return g
	}
	small.pix = make([]byte, small.width*small.height)
	for i := range small.pix {
		corner := i/small.width*n*g.width + i%small.width*n
		sum := 0
		for dy := range n {
			for _, p := range g.pix[corner+dy*g.width:][:n] {
				sum += int(p)
			}
		}
		small.pix[i] = byte(sum / (n * n))
	}
	return small
}

// doubled returns the picture at twice its size, by linear interpolation.
func (g grey) doubled() grey {
	big := grey{width: 2 * g.width, height: 2 * g.height, pix: make([]byte, 4*len(g.pix))}
	for y := range g.height {
		row := g.pix[y*g.width:][:g.width]
		below := g.pix[min(y+1, g.height-1)*g.width:][:g.width]
		top, bottom := big.pix[2*y*big.width:][:big.width], big.pix[(2*y+1)*big.width:][:big.width]
		for x := range g.width {
			right := min(x+1, g.width-1)
			a, b, c, d := int(row[x]), int(row[right]), int(below[x]), int(below[right])
			top[2*x], top[2*x+1] = byte(a), byte((a+b)/2)
			bottom[2*x], bottom[2*x+1] = byte((a+c)/2), byte((a+b+c+d)/4)
		}
	}
	return big
}
