package vault

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

// Limits of a passphrase. A thief with a gate's disk can try passphrases for as long
// as he likes, so a short one is refused.
const (
	PassphraseMin = 12   // characters
	PassphraseMax = 1024 // bytes
)

// The cost of one try at a passphrase (RFC 9106, section 4: its second choice, for
// boxes with little memory): a fifth of a second and 64 MiB on a small box.
const (
	wrapTime      = 3
	wrapMemoryKiB = 64 << 10
	wrapThreads   = 4
	wrapSalt      = 16
)

func checkPassphrase(p string) error {
	switch {
	case !utf8.ValidString(p) || len(p) > PassphraseMax || strings.ContainsAny(p, "\x00\r\n"):
		return fmt.Errorf("a passphrase is a text of at most %d bytes on one line", PassphraseMax)
	case utf8.RuneCountInString(p) < PassphraseMin:
		return fmt.Errorf("a passphrase has at least %d characters, because a thief can try as many as he likes; take several words", PassphraseMin)
	}
	return nil
}

// wrap seals a vault key under a passphrase.
func wrap(passphrase string, stream uuid.UUID, key []byte, random io.Reader) (*syncproto.VaultWrap, error) {
	w := &syncproto.VaultWrap{KDF: holder.KDF, Salt: make([]byte, wrapSalt), Time: wrapTime, MemoryKiB: wrapMemoryKiB, Threads: wrapThreads}
	if _, err := io.ReadFull(random, w.Salt); err != nil {
		return nil, fmt.Errorf("salt: %w", err)
	}
	derived := argon2.IDKey([]byte(passphrase), w.Salt, w.Time, w.MemoryKiB, w.Threads, holder.KeyBytes)
	if err := holder.WrapKey(derived, stream, key, w, random); err != nil {
		return nil, fmt.Errorf("wrap vault key: %w", err)
	}
	return w, nil
}

// generatedBytes are 80 bits: beyond anybody who has to pay a fifth of a second for
// each try.
const generatedBytes = 10

// Generate makes a passphrase that is worth its name: four groups of four characters
// that can be read aloud and typed.
func Generate(random io.Reader) (string, error) {
	b := make([]byte, generatedBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", errors.Join(errors.New("make passphrase"), err)
	}
	// Without the letters i, l, o and u, which are misread or misheard.
	text := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).EncodeToString(b)
	return strings.Join([]string{text[0:4], text[4:8], text[8:12], text[12:16]}, "-"), nil
}
