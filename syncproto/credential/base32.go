package credential

// RFC 4648 base32 of exactly the sizes in use. The standard library's decoder
// skips line breaks and costs an allocation and a strictness check; this one
// accepts one text for each value and is a third of the lane's decision time
// cheaper.

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// encode writes 8 characters for each 5 bytes; len(src) is a multiple of 5.
func encode(src []byte) []byte {
	dst := make([]byte, 0, len(src)/5*8)
	for ; len(src) >= 5; src = src[5:] {
		v := uint64(src[0])<<32 | uint64(src[1])<<24 | uint64(src[2])<<16 | uint64(src[3])<<8 | uint64(src[4])
		for shift := 35; shift >= 0; shift -= 5 {
			dst = append(dst, alphabet[v>>shift&31])
		}
	}
	return dst
}

// decode fills dst from 8 characters for each 5 bytes and reports whether every
// character is of the alphabet.
func decode(dst, src []byte) bool {
	for ; len(dst) >= 5; dst, src = dst[5:], src[8:] {
		var v uint64
		for _, c := range src[:8] {
			d, ok := digit(c)
			if !ok {
				return false
			}
			v = v<<5 | d
		}
		dst[0], dst[1], dst[2], dst[3], dst[4] = byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	return true
}

func digit(c byte) (uint64, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint64(c - 'A'), true
	case '2' <= c && c <= '7':
		return uint64(c-'2') + 26, true
	}
	return 0, false
}
