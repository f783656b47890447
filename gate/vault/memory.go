package vault

import (
	"errors"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

var errFull = errors.New("there is no more room for names in memory")

// memory is what is not on the disk: the key, and what was read with it. It belongs
// to the vault's lock.
type memory struct {
	key    []byte // nil while locked
	cipher *holder.Cipher
	index  index
	read   bool // the index has all that the source has
	round  int  // counts what makes a reading that is under way void
	unread int  // boxes that did not open
}

// wipe overwrites the key and what was read with it. What the runtime or the
// operating system copied elsewhere is out of reach.
func (m *memory) wipe() {
	clear(m.key)
	m.key, m.cipher = nil, nil
	m.wipeIndex()
}

func (m *memory) wipeIndex() {
	m.index.clear()
	m.read, m.unread = false, 0
	m.round++
}

// learn puts one holder into the index, unless the vault is locked or the index has a
// later word on the ticket.
func (m *memory) learn(rec *syncproto.HolderRecord) error {
	if m.cipher == nil || m.index.older(rec.No, rec.Rev) {
		return nil
	}
	if len(rec.Box) == 0 {
		m.index.put(rec.No, rec.Rev, nil)
		return nil
	}
	h, err := m.cipher.Open(rec.No, rec.Rev, rec.Box)
	if err == nil && !m.index.put(rec.No, rec.Rev, &h) {
		err = errFull
	}
	if err != nil {
		m.unread++
	}
	return err
}
