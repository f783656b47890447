package pass

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"codeberg.org/go-pdf/fpdf"

	"gatehouse/hardware/qrdraw"
)

// PagesMax bounds the tickets of one PDF.
const PagesMax = 50

// The page, in points: A5, which any printer puts on its paper, with the code 75 mm wide.
const (
	pageWidth  = 419.53
	pageHeight = 595.28
	margin     = 34.0
	inner      = pageWidth - 2*margin
	bandHeight = 118.0
	codeSide   = 212.6
)

// Printer makes PDFs. It is safe for concurrent use.
type Printer struct{ fonts fonts }

// NewPrinter returns a printer.
func NewPrinter() (*Printer, error) {
	f, err := parseFonts()
	if err != nil {
		return nil, err
	}
	return &Printer{f}, nil
}

// PDF is tickets to be printed, one on a page, as they are at a time.
func (p *Printer) PDF(tickets []Ticket, at time.Time) ([]byte, error) {
	if len(tickets) == 0 || len(tickets) > PagesMax {
		return nil, fmt.Errorf("print tickets: one PDF has 1 to %d of them, and not %d", PagesMax, len(tickets))
	}
	pdf := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: pageWidth, Ht: pageHeight}})
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetCatalogSort(true) // the same tickets are the same bytes
	pdf.SetCreationDate(at)
	pdf.SetModificationDate(at)
	pdf.SetTitle(clean(tickets[0].Event), true)
	pdf.SetCreator("Gatehouse", true)
	set := p.fonts.setter()
	for i := range tickets {
		m, err := tickets[i].matrix()
		if err != nil {
			return nil, err
		}
		pdf.AddPage()
		page := &sheet{pdf: pdf, set: set}
		page.ticket(&tickets[i], m)
	}
	var out bytes.Buffer
	if err := errors.Join(pdf.Error(), pdf.Output(&out)); err != nil {
		return nil, fmt.Errorf("print tickets: %w", err)
	}
	return out.Bytes(), nil
}

// sheet is a page that is being drawn, from the top down.
type sheet struct {
	pdf *fpdf.Fpdf
	set *setter
	y   float64
}

func (s *sheet) ticket(t *Ticket, m qrdraw.Matrix) {
	s.band(t)
	s.y = bandHeight + 34
	s.ink(0x14)
	s.text(t.Holder, true, 17, 2, inner)
	s.ink(0x50)
	s.text(t.Type, false, 11, 2, inner)
	s.code(m)
	s.foot(t)
}

// band is the head of the page: what it is a ticket for.
func (s *sheet) band(t *Ticket) {
	s.pdf.SetFillColor(0x12, 0x2b, 0x39)
	s.pdf.Rect(0, 0, pageWidth, bandHeight, "F")
	s.pdf.SetFillColor(0xff, 0xff, 0xff)
	s.y = 40
	s.text(t.Event, true, 19, 2, inner)
	s.pdf.SetFillColor(0xc9, 0xdd, 0xe6)
	s.text(t.When(), false, 9, 2, inner)
	where := t.Venue
	if t.Address != "" {
		where += ", " + t.Address
	}
	s.text(where, false, 9, 1, inner)
}

// ink is a grey that is written with.
func (s *sheet) ink(grey int) { s.pdf.SetFillColor(grey, grey, grey) }

// text sets a text below what there is, at the side where its script begins.
func (s *sheet) text(text string, bold bool, size float64, most int, width float64) {
	face := s.set.regular
	if bold {
		face = s.set.bold
	}
	for _, l := range s.set.lines(text, face, size, width, most) {
		x := margin
		if l.rtl {
			x = margin + width - l.width
		}
		l.draw(s.pdf, x, s.y)
		s.y += size * 1.35
	}
	s.y += size * 0.25
}

// code draws the QR code in the middle of what is left, black on white whatever is
// around it.
func (s *sheet) code(m qrdraw.Matrix) {
	module := codeSide / float64(m.Size()+2*qrdraw.QuietZone)
	left := (pageWidth-codeSide)/2 + qrdraw.QuietZone*module
	top := s.y + (pageHeight-96-s.y-codeSide)/2 + qrdraw.QuietZone*module
	s.pdf.SetFillColor(0, 0, 0)
	for y := range m.Size() {
		for x := 0; x < m.Size(); x++ {
			from := x
			for x < m.Size() && m.Dark(x, y) {
				x++
			}
			if x > from {
				// A little higher than a module, so that no printer leaves a gap between rows.
				s.pdf.Rect(left+float64(from)*module, top+float64(y)*module, float64(x-from)*module, module*1.02, "F")
			}
		}
	}
}

func (s *sheet) foot(t *Ticket) {
	s.pdf.SetDrawColor(0xd0, 0xd0, 0xd0)
	s.pdf.SetLineWidth(0.5)
	s.pdf.Line(margin, pageHeight-82, pageWidth-margin, pageHeight-82)
	s.ink(0x50)
	s.y = pageHeight - 64
	s.text("Show this code at the entrance, on paper or on a screen. Whoever shows it first is let in: keep it to yourself.", false, 7.5, 2, inner)
	s.text("Ticket "+t.ID.String(), false, 7.5, 1, inner)
	if t.Page != "" {
		s.pdf.LinkString(0, 0, pageWidth, bandHeight, t.Page)
	}
}
