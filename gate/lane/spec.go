package lane

import (
	"fmt"
	"regexp"
	"strings"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Spec is a lane as an operator writes it.
type Spec struct {
	node.LaneConfig
	Scanner string // the scanner's URL
}

// name keeps lane names usable in URLs, logs and on a screen.
const nameMax = 40

func specKey() *regexp.Regexp { return regexp.MustCompile(`,(name|zone|direction|scanner)=`) }

// ParseSpec reads name=N1,zone=main,direction=in,scanner=serial:/dev/ttyACM0.
// A comma inside the scanner's URL stays with it. Every key is required once.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	seen := map[string]bool{}
	for _, part := range splitSpec(text) {
		key, value, ok := strings.Cut(part, "=")
		if !ok || value == "" || seen[key] {
			return s, fmt.Errorf("lane %q: %q is not one KEY=VALUE; write name=N1,zone=main,direction=in,scanner=serial:/dev/ttyACM0", text, part)
		}
		seen[key] = true
		switch key {
		case "name":
			s.Name = value
		case "zone":
			s.Zone = value
		case "direction":
			s.Direction = syncproto.Direction(value)
		case "scanner":
			s.Scanner = value
		default:
			return s, fmt.Errorf("lane %q: key %q is not one of name, zone, direction, scanner", text, key)
		}
	}
	return s, s.check(text)
}

// splitSpec cuts before each known key.
func splitSpec(text string) []string {
	var parts []string
	for {
		at := specKey().FindStringIndex(text)
		if at == nil {
			return append(parts, text)
		}
		parts = append(parts, text[:at[0]])
		text = text[at[0]+1:]
	}
}

func (s *Spec) check(text string) error {
	for key, value := range map[string]string{"name": s.Name, "zone": s.Zone, "direction": string(s.Direction), "scanner": s.Scanner} {
		if value == "" {
			return fmt.Errorf("lane %q lacks %s=", text, key)
		}
	}
	if s.Direction != syncproto.In && s.Direction != syncproto.Out {
		return fmt.Errorf("lane %q: direction is in or out, not %q", text, s.Direction)
	}
	if len(s.Name) > nameMax || strings.ContainsAny(s.Name, "/\\ \t\n,=") {
		return fmt.Errorf("lane name %q: at most %d characters without spaces, slashes, commas and equals signs", s.Name, nameMax)
	}
	return nil
}
