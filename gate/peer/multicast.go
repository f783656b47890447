package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/mdns"
)

// Service names of DNS-SD (RFC 6763). The instance is the event's stream and a
// name that tells the boxes of one event apart.
const service = "_gatehouse._tcp"

// Times of looking for neighbours: gates of the roster are found without it, so it
// need not be quick.
const (
	lookEvery = 5 * time.Second
	lookFor   = time.Second
)

// Multicast looks for the gates of an event by multicast DNS (RFC 6762), on every
// interface that can, and shows this one's addresses where it listens. What it
// finds are hints, like any address. Networks that filter multicast, as many
// wireless ones do, cost nothing but the finding, as does a box without any route
// for multicast, such as a default one: it is found and finds nobody.
func Multicast(stream uuid.UUID, addrs []string) func(ctx context.Context, found func(addr string)) error {
	return func(ctx context.Context, found func(addr string)) error {
		quiet := log.New(io.Discard, "", 0)
		if len(addrs) > 0 {
			servers, err := show(stream, addrs, quiet)
			if err != nil {
				return fmt.Errorf("show this gate by multicast: %w", err)
			}
			defer func() {
				for _, s := range servers {
					_ = s.Shutdown() // nobody is told that it has gone
				}
			}()
		}
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			look(ctx, stream, found, quiet)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}

// show answers those that look, on each interface by itself: without one being
// named the system takes that of its default route, and a venue's network may
// have none.
func show(stream uuid.UUID, addrs []string, quiet *log.Logger) (servers []*mdns.Server, err error) {
	var ips []net.IP
	var port uint16
	for _, a := range addrs {
		if at, err := netip.ParseAddrPort(a); err == nil {
			ips, port = append(ips, at.Addr().AsSlice()), at.Port()
		}
	}
	if len(ips) == 0 {
		return nil, errors.New("no address to show")
	}
	host := "gate-" + ips[0].String() + "-" + strconv.Itoa(int(port))
	zone, err := mdns.NewMDNSService(host, service, "", host+".local.", int(port), ips, []string{text(stream)})
	if err != nil {
		return nil, err
	}
	all, err := interfaces()
	for i := range all {
		server, startErr := mdns.NewServer(&mdns.Config{Zone: zone, Iface: &all[i], Logger: quiet})
		if startErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", all[i].Name, startErr))
			continue
		}
		servers = append(servers, server)
	}
	switch {
	case len(servers) > 0:
		return servers, nil
	case err == nil:
		err = errors.New("no interface can do it")
	}
	return nil, err
}

// interfaces are those that can multicast now.
func interfaces() (all []net.Interface, err error) {
	present, err := net.Interfaces()
	for i := range present {
		if present[i].Flags&(net.FlagUp|net.FlagMulticast) == net.FlagUp|net.FlagMulticast {
			all = append(all, present[i])
		}
	}
	return all, err
}

// text is what tells the gates of one event from those of another beside them.
func text(stream uuid.UUID) string { return "event=" + stream.String() }

// look asks once on every interface.
func look(ctx context.Context, stream uuid.UUID, found func(addr string), quiet *log.Logger) {
	all, err := interfaces()
	if err != nil {
		return // the next look may go better; the roster has addresses too
	}
	for i := range all {
		entries := make(chan *mdns.ServiceEntry, 64)
		err := mdns.QueryContext(ctx, &mdns.QueryParam{
			Service: service, Timeout: lookFor, Interface: &all[i], Entries: entries, DisableIPv6: true, Logger: quiet,
		})
		close(entries)
		if err != nil {
			continue
		}
		for e := range entries {
			if len(e.InfoFields) == 1 && e.InfoFields[0] == text(stream) && e.AddrV4 != nil {
				found(net.JoinHostPort(e.AddrV4.String(), strconv.Itoa(e.Port)))
			}
		}
	}
}
