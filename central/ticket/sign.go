package ticket

import (
	"crypto/ed25519"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// signChunk is how many codes a worker signs before it asks for more.
const signChunk = 256

// signer makes codes and their keyed hashes.
type signer struct {
	current syncproto.KeyID
	keys    map[syncproto.KeyID]ed25519.PrivateKey
	hasher  *credential.Hasher
}

// code signs one code.
func (s *signer) code(f credential.Fields) (string, syncproto.CodeHash, error) {
	key, ok := s.keys[f.Key]
	if !ok {
		return "", syncproto.CodeHash{}, fmt.Errorf("sign code of ticket %d: its key %d is missing", f.Ticket, f.Key)
	}
	text, err := credential.Sign(key, f)
	if err != nil {
		return "", syncproto.CodeHash{}, fmt.Errorf("sign code of ticket %d: %w", f.Ticket, err)
	}
	return text, s.hasher.Sum([]byte(text)), nil
}

// each runs fn for 0 to n-1 on all processors, and done after each chunk with
// how many are through. It returns the first error, and then not all are.
func each(n int, fn func(i int) error, done func(n int)) error {
	var (
		wg            sync.WaitGroup
		next, through atomic.Int64
		once          sync.Once
		first         error
	)
	for range min(runtime.GOMAXPROCS(0), (n+signChunk-1)/signChunk) {
		wg.Go(func() {
			for {
				from := int(next.Add(signChunk)) - signChunk
				if from >= n {
					return
				}
				to := min(from+signChunk, n)
				for i := from; i < to; i++ {
					if err := fn(i); err != nil {
						once.Do(func() { first = err })
						next.Store(int64(n)) // the others stop at their next chunk
						return
					}
				}
				done(int(through.Add(int64(to - from))))
			}
		})
	}
	wg.Wait()
	return first
}
