package staff

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of what people write about themselves.
const (
	EmailMax      = 254 // bytes of an e-mail address, RFC 5321
	emailLocalMax = 64  // bytes before the @, RFC 5321
	NameMax       = 200 // characters of a name
)

// ParseEmail returns an e-mail address as it is stored and compared: in lower case,
// its domain as ASCII. It takes what mail servers deliver to in practice, a dot-atom
// and a domain name with a dot, and neither quotes, comments nor bare hosts.
func ParseEmail(text string) (string, error) {
	text = strings.TrimSpace(text)
	bad := badInput("email", "give an e-mail address such as ada@example.org, of at most %d characters", EmailMax)
	local, domain, found := strings.Cut(text, "@")
	if !found || len(text) > EmailMax || !utf8.ValidString(text) || !isDotAtom(local) || domain == "" {
		return "", bad
	}
	domain, err := idna.Lookup.ToASCII(domain)
	if err != nil || !isDomain(domain) {
		return "", bad
	}
	out := strings.ToLower(local) + "@" + strings.ToLower(domain)
	if len(out) > EmailMax {
		return "", bad
	}
	return out, nil
}

// isDotAtom tells whether text may stand before the @ without quotes (RFC 5322).
func isDotAtom(text string) bool {
	if len(text) > emailLocalMax {
		return false
	}
	for _, atom := range strings.Split(text, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return !isAlphanumeric(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return false
		}
	}
	return true
}

// isDomain tells whether an ASCII text is a name that mail is delivered to: labels of
// letters, digits and inner hyphens, more than one, the last not a number, which would
// be an address.
func isDomain(text string) bool {
	labels := strings.Split(text, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlphanumeric(r) && r != '-' }) {
			return false
		}
	}
	_, err := netip.ParseAddr(text)
	return err != nil && strings.ContainsFunc(labels[len(labels)-1], unicode.IsLetter)
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// checkName takes a name apart from what would break a line or a database.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > NameMax || strings.ContainsFunc(name, unicode.IsControl) {
		return "", badInput("name", "give a text of at most %d characters on one line", NameMax)
	}
	return name, nil
}
