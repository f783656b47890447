package ticket

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// codesPage is how many tickets an export reads at a time. Each page is a query
// of its own, so that a slow reader of the output holds no transaction open.
const codesPage = 4096

// Code is the present code of a ticket.
func (s *Service) Code(ctx context.Context, event syncproto.EventNo, reference string) (string, error) {
	signer, err := s.signer(ctx, event)
	if err != nil {
		return "", err
	}
	t, err := selectIssued(ctx, s.cfg.Pool, event, reference, "")
	if err != nil {
		return "", err
	}
	code, err := signer.codeOf(t)
	if err == nil && code == "" {
		err = fmt.Errorf("ticket %q was sold at a gate that has not told its code yet; wait until the gate is connected, or reissue it", t.reference)
	}
	return code, err
}

// codeOf makes a ticket's code again, and makes sure that it is the one that
// gates were told of.
func (s *signer) codeOf(t issued) (string, error) {
	if t.sold {
		return t.soldCode, nil
	}
	code, hash, err := s.code(t.fields)
	if err != nil {
		return "", err
	}
	if hash != t.hash {
		return "", fmt.Errorf("the code of ticket %q does not match what is stored of it: restore the signing keys from a backup, or reissue the code", t.reference)
	}
	return code, nil
}

// Codes writes the codes of all tickets of an event as CSV, by number, revoked
// ones too: reference,ticket_id,code. The code of a ticket that a gate sold is empty
// until the gate has told it.
func (s *Service) Codes(ctx context.Context, event syncproto.EventNo, w io.Writer) error {
	signer, err := s.signer(ctx, event)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write([]string{"reference", "ticket_id", "code"}); err != nil {
		return fmt.Errorf("write codes: %w", err)
	}
	var last syncproto.TicketNo
	for {
		page, err := s.issuedAfter(ctx, event, last)
		if err != nil {
			return err
		}
		if err := writeCodes(out, signer, page); err != nil {
			return fmt.Errorf("write codes: %w", err)
		}
		if len(page) < codesPage {
			return nil
		}
		last = page[len(page)-1].fields.Ticket
	}
}

// writeCodes writes a page of codes and flushes it.
func writeCodes(out *csv.Writer, signer *signer, page []issued) error {
	codes := make([]string, len(page))
	err := each(len(page), func(i int) (err error) {
		codes[i], err = signer.codeOf(page[i])
		return err
	}, func(int) {})
	if err != nil {
		return err
	}
	for i, t := range page {
		if err := out.Write([]string{t.reference, t.id.String(), codes[i]}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// issuedAfter reads the next page of an event's tickets, by number.
func (s *Service) issuedAfter(ctx context.Context, event syncproto.EventNo, last syncproto.TicketNo) ([]issued, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT `+issuedColumns+`
		FROM ticket
		WHERE event_id = $1::bigint AND number > $2::bigint
		ORDER BY number
		LIMIT $3`, int64(event), int64(last), codesPage)
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	page, err := pgx.CollectRows(rows, scanIssued)
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	return page, nil
}
