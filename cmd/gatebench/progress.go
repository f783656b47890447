package main

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"
)

// progress says on a terminal what is being measured; elsewhere it is silent.
type progress struct {
	f    *os.File
	tty  bool
	mu   sync.Mutex
	what string
}

func newProgress(f *os.File) *progress { return &progress{f: f, tty: term.IsTerminal(int(f.Fd()))} }

func (p *progress) begin(what string) {
	p.mu.Lock()
	p.what = what
	p.mu.Unlock()
	p.note("")
}

// note adds a detail to the line.
func (p *progress) note(detail string) {
	if !p.tty {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if detail != "" {
		detail = ": " + detail
	}
	fmt.Fprintf(p.f, "\r\x1b[Kmeasuring %s%s", p.what, detail)
}

func (p *progress) end() {
	if p.tty {
		fmt.Fprint(p.f, "\r\x1b[K")
	}
}
