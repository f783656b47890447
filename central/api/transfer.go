package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// transferOps are the operations that take a whole programme from one central to
// another.
type transferOps struct{ s *Server }

// importPath takes bodies as large as a document may be.
const importPath = Prefix + "/events/import"

// ExportEvent implements StrictServerInterface.
func (o transferOps) ExportEvent(ctx context.Context, r ExportEventRequestObject) (ExportEventResponseObject, error) {
	d, err := o.s.cfg.Programme.Export(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write programme: %w", err)
	}
	return ExportEvent200JSONResponse{Success: true, Message: "Here is the programme.", Data: body}, nil
}

// ImportEvent implements StrictServerInterface.
func (o transferOps) ImportEvent(ctx context.Context, r ImportEventRequestObject) (ImportEventResponseObject, error) {
	doc, err := programme.ReadDocument(bytes.NewReader(*r.Body))
	if err != nil {
		return nil, err
	}
	e, err := o.s.cfg.Programme.Import(ctx, doc)
	if err != nil {
		return nil, err
	}
	d, err := o.s.cfg.Programme.Detail(ctx, e.No)
	if err != nil {
		return nil, err
	}
	return ImportEvent201JSONResponse{Headers: ImportEvent201ResponseHeaders{ETag: new(tag(d.Rev))}, Body: eventAnswer(&d, "The event is a draft.")}, nil
}
