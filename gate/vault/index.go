package vault

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

const (
	// blockBytes is the unit of the index's memory. Blocks never move, so that no copy
	// of a name is left behind where it cannot be wiped.
	blockBytes = 1 << 20
	// blocksMax is what a place in the index can address: 4 GiB of words.
	blocksMax = 1 << 12
	// LineMax bounds the words that one holder is found by, in bytes. Words beyond it
	// are shown, and not searched by.
	LineMax = 1024

	numberBytes = 8 // hexadecimal digits of a ticket number
	pageBits    = 10
	pageSize    = 1 << pageBits
)

// index finds tickets by the beginnings of words. It is text in memory, a line for
// each holder, that is searched from one end to the other: a million holders take
// some tens of milliseconds, and a change is a line more.
//
// A line is a line feed, the ticket number in hexadecimal, and each word after a
// space. No word holds either. What is not a line is zeros.
type index struct {
	blocks [][]byte
	pages  []*[pageSize]place
	lines  int
	wasted int // bytes of lines that were replaced
}

// place is where a ticket's line is. The zero value is a ticket that was never
// heard of; one with a rev and no length names nobody any more.
type place struct {
	rev    uint32
	at     uint32 // block number and offset in it
	length uint16
}

func (x *index) place(no syncproto.TicketNo) *place {
	page := int(no >> pageBits)
	if page >= len(x.pages) {
		x.pages = append(x.pages, make([]*[pageSize]place, page+1-len(x.pages))...)
	}
	if x.pages[page] == nil {
		x.pages[page] = new([pageSize]place)
	}
	return &x.pages[page][no&(pageSize-1)]
}

// shortRev is a revision as the index compares it.
func shortRev(rev int64) uint32 { return uint32(min(max(rev, 1), math.MaxUint32)) }

// older reports whether a revision of a ticket is not news.
func (x *index) older(no syncproto.TicketNo, rev int64) bool { return shortRev(rev) <= x.place(no).rev }

// put makes a ticket be found by a holder's words; nil takes it out. An index that
// is full finds no more tickets than it did, and reports it.
func (x *index) put(no syncproto.TicketNo, rev int64, h *holder.Holder) bool {
	p := x.place(no)
	x.erase(p)
	p.rev, p.length = shortRev(rev), 0
	if h == nil {
		return true
	}
	line := appendLine(make([]byte, 0, 128), no, h)
	ok := x.append(p, line)
	clear(line)
	if x.wasted > blockBytes && x.wasted > x.size()/2 {
		x.compact()
	}
	return ok
}

func (x *index) erase(p *place) {
	if p.length == 0 {
		return
	}
	clear(x.line(p))
	x.wasted += int(p.length)
	x.lines--
}

func (x *index) line(p *place) []byte {
	at := int(p.at % blockBytes)
	return x.blocks[p.at/blockBytes][at : at+int(p.length)]
}

func (x *index) append(p *place, line []byte) bool {
	last := len(x.blocks) - 1
	if last < 0 || len(x.blocks[last])+len(line) > blockBytes {
		if len(x.blocks) == blocksMax {
			return false
		}
		x.blocks = append(x.blocks, make([]byte, 0, blockBytes))
		last++
	}
	p.at, p.length = uint32(last*blockBytes+len(x.blocks[last])), uint16(len(line))
	x.blocks[last] = append(x.blocks[last], line...)
	x.lines++
	return true
}

func (x *index) size() int {
	n := 0
	for _, b := range x.blocks {
		n += len(b)
	}
	return n
}

// compact writes the lines that count into new blocks and wipes the old ones.
func (x *index) compact() {
	old := x.blocks
	x.blocks, x.lines, x.wasted = nil, 0, 0
	for _, page := range x.pages {
		if page == nil {
			continue
		}
		for i := range page {
			if p := &page[i]; p.length > 0 {
				at := int(p.at % blockBytes)
				x.append(p, old[p.at/blockBytes][at:at+int(p.length)])
			}
		}
	}
	wipe(old)
}

// clear wipes everything.
func (x *index) clear() {
	wipe(x.blocks)
	*x = index{}
}

func wipe(blocks [][]byte) {
	for _, b := range blocks {
		clear(b[:cap(b)])
	}
}

// appendLine appends the line of a holder.
func appendLine(dst []byte, no syncproto.TicketNo, h *holder.Holder) []byte {
	var number [numberBytes / 2]byte
	binary.BigEndian.PutUint32(number[:], uint32(no))
	dst = hex.AppendEncode(append(dst, '\n'), number[:])
	for _, text := range []string{h.Name, h.Email, h.Reference} {
		for _, word := range Words(text) {
			for _, form := range []string{word, withoutArticle(word)} {
				if form != "" && len(dst)+1+len(form) <= LineMax {
					dst = append(append(dst, ' '), form...)
				}
			}
		}
	}
	return dst
}

// find lists the tickets of which every word begins one of the holder's, in the order
// in which they came, at most most of them; more tells that there are others.
func (x *index) find(words []string, most int) (found []syncproto.TicketNo, more bool) {
	longest := 0
	needles := make([][]byte, len(words))
	for i, w := range words {
		needles[i] = []byte(" " + w)
		if len(w) > len(words[longest]) {
			longest = i
		}
	}
	for _, block := range x.blocks {
		for at := 0; ; {
			hit := bytes.Index(block[at:], needles[longest])
			if hit < 0 {
				break
			}
			start := bytes.LastIndexByte(block[:at+hit], '\n')
			end := at + hit + lineEnd(block[at+hit:])
			if line := block[start+1 : end]; all(line, needles) {
				if len(found) == most {
					return found, true
				}
				found = append(found, numberOf(line))
			}
			at = end
		}
	}
	return found, false
}

// lineEnd is where a line ends: before the next one, or before zeros.
func lineEnd(b []byte) int {
	if i := bytes.IndexAny(b, "\n\x00"); i >= 0 {
		return i
	}
	return len(b)
}

func all(line []byte, needles [][]byte) bool {
	for _, n := range needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}

func numberOf(line []byte) syncproto.TicketNo {
	var number [numberBytes / 2]byte
	if len(line) >= numberBytes {
		_, _ = hex.Decode(number[:], line[:numberBytes]) // appendLine wrote it
	}
	return syncproto.TicketNo(binary.BigEndian.Uint32(number[:]))
}

// queryWords are the words of a query, each once.
func queryWords(query string) []string {
	var out []string
	for _, w := range Words(query) {
		if !strings.Contains(" "+strings.Join(out, " ")+" ", " "+w+" ") {
			out = append(out, w)
		}
	}
	return out
}
