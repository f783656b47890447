package peer

import (
	"net"
	"net/netip"

	"gatehouse/syncproto"
)

// Addrs are the addresses at which a bound socket can be reached, as far as this
// box knows: its own where it is bound to one, else those of the box's
// interfaces, of the kind that it listens on. There are at most
// syncproto.PeerAddrsMax.
func Addrs(bound net.Addr) []string {
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return nil
	}
	if !at.Addr().IsUnspecified() {
		return []string{at.String()}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() || at.Addr().Is4() && !prefix.Addr().Is4() || len(out) == syncproto.PeerAddrsMax {
			continue
		}
		out = append(out, netip.AddrPortFrom(prefix.Addr(), at.Port()).String())
	}
	return out
}
