package main

import (
	"math/rand/v2"
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/syncprototest"
)

// centralName makes central's keys; it is the same in all worlds, so that codes are
// signed once.
const centralName = "fleetsim"

// codebook holds the codes of all tickets that a world may have. It is made once
// and only read.
type codebook struct {
	texts  [codesMax + 1][issuesMax][]byte
	hashes [codesMax + 1][issuesMax]syncproto.CodeHash
}

const (
	ticketsMax = 200
	codesMax   = 400
	issuesMax  = 3
)

func newCodebook() (*codebook, error) {
	m, err := syncprototest.NewMemory(syncprototest.MemoryConfig{Name: centralName, Now: time.Now, Rand: randomBytes{rand.New(rand.NewPCG(0, 0))}})
	if err != nil {
		return nil, err
	}
	rules, err := m.CreateEvent(syncprototest.Rules("Festival"))
	if err != nil {
		return nil, err
	}
	r, err := syncprototest.Database{Memory: m}.Adopt(rules.Event, "codebook", publicOf(syncprototest.Key("codebook")))
	if err != nil {
		return nil, err
	}
	c, hasher, key := &codebook{}, credential.NewHasher(r.HashKey), syncprototest.Key("ticket "+centralName)
	for no := 1; no <= codesMax; no++ {
		for issue := range issuesMax {
			text, err := credential.Sign(key, credential.Fields{
				Key: 1, Event: rules.Event, Ticket: syncproto.TicketNo(no), Type: typeOf(syncproto.TicketNo(no)), Issue: uint8(issue), NeedsRoster: no%16 == 0,
			})
			if err != nil {
				return nil, err
			}
			c.texts[no][issue], c.hashes[no][issue] = []byte(text), hasher.Sum([]byte(text))
		}
	}
	return c, nil
}

func (c *codebook) text(no syncproto.TicketNo, issue uint8) []byte { return c.texts[no][issue] }

func (c *codebook) hash(no syncproto.TicketNo, issue uint8) syncproto.CodeHash {
	return c.hashes[no][issue]
}
