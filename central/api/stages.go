package api

import (
	"context"

	"gatehouse/central/programme"
)

// stageOps are the operations on the stages of venues. Whose the venue is, theirs are
// its stages.
type stageOps struct{ s *Server }

func stageOf(v *programme.Stage) Stage {
	return Stage{Id: int32(v.ID), VenueId: int32(v.VenueID), Name: v.Name, Sort: int32(v.Sort), Rev: v.Rev}
}

func stageAnswer(v *programme.Stage, message string) StageAnswer {
	return StageAnswer{Success: true, Message: message, Data: stageOf(v)}
}

// ListStages implements StrictServerInterface.
func (o stageOps) ListStages(ctx context.Context, r ListStagesRequestObject) (ListStagesResponseObject, error) {
	after, err := open[programme.Place](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	if _, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id)); err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	stages, err := o.s.cfg.Programme.Venues.StagePage(ctx, int64(r.Id), after, limit+1)
	if err != nil {
		return nil, err
	}
	stages, next := paged(stages, limit, func(v *programme.Stage) any { return programme.Place{Sort: v.Sort, Name: v.Name, ID: v.ID} })
	return ListStages200JSONResponse{Success: true, Message: "Here are the stages.", Data: each(stages, stageOf), Next: next}, nil
}

// CreateStage implements StrictServerInterface.
func (o stageOps) CreateStage(ctx context.Context, r CreateStageRequestObject) (CreateStageResponseObject, error) {
	venue, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	if err := o.s.mayChangeVenue(ctx, venue.ID); err != nil {
		return nil, err
	}
	v, err := o.s.cfg.Programme.Venues.CreateStage(ctx, programme.Stage{VenueID: venue.ID, Name: r.Body.Name, Sort: int(orElse(r.Body.Sort, 0))})
	if err != nil {
		return nil, err
	}
	return CreateStage201JSONResponse{Headers: CreateStage201ResponseHeaders{ETag: new(tag(v.Rev))}, Body: stageAnswer(&v, "The stage is made.")}, nil
}

// mine finds a stage, and refuses it to whom its venue is not theirs.
func (o stageOps) mine(ctx context.Context, id int32) (programme.Stage, error) {
	v, err := o.s.cfg.Programme.Venues.Stage(ctx, int64(id))
	if err != nil {
		return v, err
	}
	return v, o.s.mayChangeVenue(ctx, v.VenueID)
}

// UpdateStage implements StrictServerInterface.
func (o stageOps) UpdateStage(ctx context.Context, r UpdateStageRequestObject) (UpdateStageResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	in, err := o.mine(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	in.Name, in.Sort = r.Body.Name, int(orElse(r.Body.Sort, int32(in.Sort)))
	if rev != 0 {
		in.Rev = rev
	}
	v, err := o.s.cfg.Programme.Venues.UpdateStage(ctx, in)
	if err != nil {
		return nil, err
	}
	return UpdateStage200JSONResponse{Headers: UpdateStage200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: stageAnswer(&v, "The stage is changed.")}, nil
}

// DeleteStage implements StrictServerInterface.
func (o stageOps) DeleteStage(ctx context.Context, r DeleteStageRequestObject) (DeleteStageResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.mine(ctx, r.Id); err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Venues.DeleteStage(ctx, int64(r.Id), rev); err != nil {
		return nil, err
	}
	return DeleteStage200JSONResponse{Success: true, Message: "The stage is deleted."}, nil
}
