package pass

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // the format of a pass asks for it, and what it is of is signed
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
	"time"

	"github.com/smallstep/pkcs7"
)

// AppleConfig is what Apple gives an operator who makes passes. All of it is required.
type AppleConfig struct {
	// Certificate is of a pass type id: its subject names the type (UID) and the team (OU).
	Certificate *x509.Certificate
	// Key is the certificate's.
	Key crypto.Signer
	// Intermediate is the certificate that signed it: Apple's WWDR.
	Intermediate *x509.Certificate
}

// Apple makes Apple Wallet passes. It is safe for concurrent use.
type Apple struct {
	cfg            AppleConfig
	passType, team string
	icons          map[string][]byte
}

// userID is the attribute of a subject that has the pass type id (RFC 4519, 2.39).
func userID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
}

// NewApple checks that certificate, key and intermediate belong together.
func NewApple(cfg AppleConfig) (*Apple, error) {
	if cfg.Certificate == nil || cfg.Key == nil || cfg.Intermediate == nil {
		return nil, errors.New("apple wallet: certificate, key and intermediate certificate are required")
	}
	public, ok := cfg.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cfg.Certificate.PublicKey) {
		return nil, errors.New("apple wallet: the key is not that of the certificate")
	}
	if err := cfg.Certificate.CheckSignatureFrom(cfg.Intermediate); err != nil {
		return nil, fmt.Errorf("apple wallet: the intermediate certificate did not sign the other: %w", err)
	}
	a := &Apple{cfg: cfg, icons: map[string][]byte{}}
	for _, name := range cfg.Certificate.Subject.Names {
		if text, ok := name.Value.(string); ok && name.Type.Equal(userID()) {
			a.passType = text
		}
	}
	if units := cfg.Certificate.Subject.OrganizationalUnit; len(units) > 0 {
		a.team = units[0]
	}
	if a.passType == "" || a.team == "" {
		return nil, errors.New("apple wallet: the certificate is not of a pass type id: its subject has no UID, or no OU")
	}
	for name, side := range map[string]int{"icon.png": 29, "icon@2x.png": 58, "icon@3x.png": 87, "logo.png": 50, "logo@2x.png": 100} {
		body, err := icon(side)
		if err != nil {
			return nil, err
		}
		a.icons[name] = body
	}
	return a, nil
}

// field is one of a pass.
type field struct {
	Key       string `json:"key"`
	Label     string `json:"label,omitempty"`
	Value     string `json:"value"`
	DateStyle string `json:"dateStyle,omitempty"`
	TimeStyle string `json:"timeStyle,omitempty"`
}

// appleFields are the places of an event ticket, from the top down.
type appleFields struct {
	Primary   []field `json:"primaryFields,omitempty"`
	Secondary []field `json:"secondaryFields,omitempty"`
	Auxiliary []field `json:"auxiliaryFields,omitempty"`
	Back      []field `json:"backFields,omitempty"`
}

// applePass is pass.json (developer.apple.com/documentation/walletpasses/pass).
type applePass struct {
	FormatVersion int                 `json:"formatVersion"`
	PassType      string              `json:"passTypeIdentifier"`
	Team          string              `json:"teamIdentifier"`
	Serial        string              `json:"serialNumber"`
	Organization  string              `json:"organizationName"`
	Description   string              `json:"description"`
	RelevantDate  string              `json:"relevantDate,omitempty"`
	Barcodes      []map[string]string `json:"barcodes"`
	EventTicket   appleFields         `json:"eventTicket"`
	Foreground    string              `json:"foregroundColor"`
	Background    string              `json:"backgroundColor"`
	Label         string              `json:"labelColor"`
}

// Pass is a ticket as a signed .pkpass, made at a time.
func (a *Apple) Pass(t *Ticket, at time.Time) ([]byte, error) {
	if t.Code == "" {
		return nil, ErrNoCode
	}
	body, err := json.Marshal(a.content(t))
	if err != nil {
		return nil, fmt.Errorf("make pass: %w", err)
	}
	files := maps.Clone(a.icons)
	files["pass.json"] = body
	sums := map[string]string{}
	for name, body := range files {
		sum := sha1.Sum(body) //nolint:gosec // as above
		sums[name] = hex.EncodeToString(sum[:])
	}
	manifest, err := json.Marshal(sums)
	if err != nil {
		return nil, fmt.Errorf("make pass: %w", err)
	}
	signature, err := a.sign(manifest)
	if err != nil {
		return nil, fmt.Errorf("sign pass: %w", err)
	}
	files["manifest.json"], files["signature"] = manifest, signature
	return pack(files, at)
}

func (a *Apple) content(t *Ticket) applePass {
	p := applePass{
		FormatVersion: 1, PassType: a.passType, Team: a.team, Serial: fmt.Sprintf("%s-%d", t.ID, t.Issue),
		Organization: clean(t.Event), Description: "Ticket: " + clean(t.Event),
		Barcodes:   []map[string]string{{"format": "PKBarcodeFormatQR", "message": t.Code, "messageEncoding": "iso-8859-1"}},
		Foreground: "rgb(255, 255, 255)", Background: "rgb(18, 43, 57)", Label: "rgb(201, 221, 230)",
	}
	add := func(to *[]field, f field) {
		if f.Value = clean(f.Value); f.Value != "" {
			*to = append(*to, f)
		}
	}
	add(&p.EventTicket.Primary, field{Key: "event", Label: "Event", Value: t.Event})
	if !t.StartsAt.IsZero() {
		p.RelevantDate = t.StartsAt.In(t.location()).Format(time.RFC3339)
		add(&p.EventTicket.Secondary, field{Key: "start", Label: "Begins", Value: p.RelevantDate, DateStyle: "PKDateStyleMedium", TimeStyle: "PKDateStyleShort"})
	}
	add(&p.EventTicket.Secondary, field{Key: "venue", Label: "Venue", Value: t.Venue})
	add(&p.EventTicket.Auxiliary, field{Key: "holder", Label: "Name", Value: t.Holder})
	add(&p.EventTicket.Auxiliary, field{Key: "type", Label: "Ticket", Value: t.Type})
	add(&p.EventTicket.Back, field{Key: "when", Label: "When", Value: t.When()})
	add(&p.EventTicket.Back, field{Key: "address", Label: "Where", Value: t.Address})
	add(&p.EventTicket.Back, field{Key: "ticket", Label: "Ticket", Value: t.ID.String()})
	add(&p.EventTicket.Back, field{Key: "page", Label: "On the web", Value: t.Page})
	return p
}

// sign is a detached PKCS #7 signature with the signing time, as Apple asks for it.
func (a *Apple) sign(manifest []byte) ([]byte, error) {
	signed, err := pkcs7.NewSignedData(manifest)
	if err != nil {
		return nil, err
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	signed.AddCertificate(a.cfg.Intermediate)
	if err := signed.AddSigner(a.cfg.Certificate, a.cfg.Key, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, err
	}
	signed.Detach()
	return signed.Finish()
}

func pack(files map[string][]byte, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack pass: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack pass: %w", err)
	}
	return out.Bytes(), nil
}

// icon is a gate, half open, in a square.
func icon(side int) ([]byte, error) {
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	back, bar := color.NRGBA{0x12, 0x2b, 0x39, 0xff}, color.NRGBA{0xff, 0xff, 0xff, 0xff}
	unit := side / 10
	for y := range side {
		for x := range side {
			c := back
			post := (x >= 2*unit && x < 3*unit || x >= side-3*unit && x < side-2*unit) && y >= 2*unit && y < side-2*unit
			arm := y >= 4*unit && y < 5*unit && x >= 2*unit && x < 6*unit
			if post || arm {
				c = bar
			}
			img.SetNRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("draw icon: %w", err)
	}
	return out.Bytes(), nil
}
