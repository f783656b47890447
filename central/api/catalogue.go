package api

import (
	"context"

	"gatehouse/central/programme"
	"gatehouse/central/staff"
)

// categoryOps are the operations on categories, which are of all events.
type categoryOps struct{ s *Server }

func categoryOf(v *programme.Category) Category {
	return Category{Id: int32(v.ID), Key: v.Key, Name: v.Name, Sort: int32(v.Sort), Rev: v.Rev}
}

func categoryAnswer(v *programme.Category, message string) CategoryAnswer {
	return CategoryAnswer{Success: true, Message: message, Data: categoryOf(v)}
}

// ListCategories implements StrictServerInterface.
func (o categoryOps) ListCategories(ctx context.Context, r ListCategoriesRequestObject) (ListCategoriesResponseObject, error) {
	after, err := open[programme.Place](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	categories, err := o.s.cfg.Programme.Categories.Page(ctx, after, limit+1)
	if err != nil {
		return nil, err
	}
	categories, next := paged(categories, limit, func(v *programme.Category) any { return programme.Place{Sort: v.Sort, Name: v.Name, ID: v.ID} })
	return ListCategories200JSONResponse{Success: true, Message: "Here are the categories.", Data: each(categories, categoryOf), Next: next}, nil
}

// CreateCategory implements StrictServerInterface.
func (o categoryOps) CreateCategory(ctx context.Context, r CreateCategoryRequestObject) (CreateCategoryResponseObject, error) {
	v, err := o.s.cfg.Programme.Categories.Create(ctx, programme.Category{Key: r.Body.Key, Name: r.Body.Name, Sort: int(orElse(r.Body.Sort, 0))})
	if err != nil {
		return nil, err
	}
	answer := categoryAnswer(&v, "The category is made.")
	return CreateCategory201JSONResponse{Headers: CreateCategory201ResponseHeaders{ETag: new(tag(v.Rev))}, Body: answer}, nil
}

// UpdateCategory implements StrictServerInterface.
func (o categoryOps) UpdateCategory(ctx context.Context, r UpdateCategoryRequestObject) (UpdateCategoryResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	in, err := o.s.cfg.Programme.Categories.Get(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	in.Key, in.Name, in.Sort = r.Body.Key, r.Body.Name, int(orElse(r.Body.Sort, int32(in.Sort)))
	if rev != 0 {
		in.Rev = rev
	}
	v, err := o.s.cfg.Programme.Categories.Update(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := categoryAnswer(&v, "The category is changed.")
	return UpdateCategory200JSONResponse{Headers: UpdateCategory200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: answer}, nil
}

// DeleteCategory implements StrictServerInterface.
func (o categoryOps) DeleteCategory(ctx context.Context, r DeleteCategoryRequestObject) (DeleteCategoryResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Categories.Delete(ctx, int64(r.Id), rev); err != nil {
		return nil, err
	}
	return DeleteCategory200JSONResponse{Success: true, Message: "The category is deleted."}, nil
}

// performerOps are the operations on performers. Whoever plans an event makes them;
// one who is in others' events too is changed by those who may change all of these.
type performerOps struct{ s *Server }

func performerOf(v *programme.Performer) Performer {
	return Performer{
		Id: int32(v.ID), Name: v.Name, Bio: orNil(v.Bio), Image: orNil(v.Image), Rev: v.Rev,
		Links: each(v.Links, func(l *programme.Link) Link { return Link{Label: orNil(l.Label), Url: l.URL} }),
	}
}

func performerAnswer(v *programme.Performer, message string) PerformerAnswer {
	return PerformerAnswer{Success: true, Message: message, Data: performerOf(v)}
}

// changedPerformer is a performer with what a body says; what it does not say stays.
func changedPerformer(v programme.Performer, b *PerformerBody) programme.Performer {
	v.Name, v.Bio, v.Image = b.Name, orElse(b.Bio, v.Bio), orElse(b.Image, v.Image)
	if b.Links != nil {
		v.Links = each(*b.Links, func(l *Link) programme.Link { return programme.Link{Label: orElse(l.Label, ""), URL: l.Url} })
	}
	return v
}

// mine finds a performer, and refuses one of others' events.
func (o performerOps) mine(ctx context.Context, id int32) (programme.Performer, error) {
	v, err := o.s.cfg.Programme.Performers.Get(ctx, int64(id))
	if err != nil {
		return v, err
	}
	events, err := o.s.cfg.Programme.Performers.Events(ctx, v.ID)
	if err != nil {
		return v, err
	}
	return v, mayAll(ctx, staff.ProgrammeWrite, events)
}

// plans reports whether somebody plans any event, and so sees who may be at one. To all
// others a performer is there once an event with him is no draft.
func plans(ctx context.Context) bool { return staff.FromContext(ctx).MaySome(staff.ProgrammeWrite) }

// ListPerformers implements StrictServerInterface.
func (o performerOps) ListPerformers(ctx context.Context, r ListPerformersRequestObject) (ListPerformersResponseObject, error) {
	after, err := open[programme.Named](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	performers, err := o.s.cfg.Programme.Performers.Page(ctx, programme.PerformerQuery{
		Text: orElse(r.Params.Q, ""), Shown: !plans(ctx), After: after, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	performers, next := paged(performers, limit, func(v *programme.Performer) any { return programme.Named{ID: v.ID, Name: v.Name} })
	return ListPerformers200JSONResponse{Success: true, Message: "Here are the performers.", Data: each(performers, performerOf), Next: next}, nil
}

// GetPerformer implements StrictServerInterface.
func (o performerOps) GetPerformer(ctx context.Context, r GetPerformerRequestObject) (GetPerformerResponseObject, error) {
	found, err := o.s.cfg.Programme.Performers.Page(ctx, programme.PerformerQuery{ID: int64(r.Id), Shown: !plans(ctx), Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, programme.ErrNotFound
	}
	v := found[0]
	answer := performerAnswer(&v, "Here is the performer.")
	return GetPerformer200JSONResponse{Headers: GetPerformer200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: answer}, nil
}

// CreatePerformer implements StrictServerInterface.
func (o performerOps) CreatePerformer(ctx context.Context, r CreatePerformerRequestObject) (CreatePerformerResponseObject, error) {
	v, err := o.s.cfg.Programme.Performers.Create(ctx, changedPerformer(programme.Performer{}, r.Body))
	if err != nil {
		return nil, err
	}
	answer := performerAnswer(&v, "The performer is made.")
	return CreatePerformer201JSONResponse{Headers: CreatePerformer201ResponseHeaders{ETag: new(tag(v.Rev))}, Body: answer}, nil
}

// UpdatePerformer implements StrictServerInterface.
func (o performerOps) UpdatePerformer(ctx context.Context, r UpdatePerformerRequestObject) (UpdatePerformerResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	before, err := o.mine(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	in := changedPerformer(before, r.Body)
	if rev != 0 {
		in.Rev = rev
	}
	v, err := o.s.cfg.Programme.Performers.Update(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := performerAnswer(&v, "The performer is changed.")
	return UpdatePerformer200JSONResponse{Headers: UpdatePerformer200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: answer}, nil
}

// DeletePerformer implements StrictServerInterface.
func (o performerOps) DeletePerformer(ctx context.Context, r DeletePerformerRequestObject) (DeletePerformerResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.mine(ctx, r.Id); err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Performers.Delete(ctx, int64(r.Id), rev); err != nil {
		return nil, err
	}
	return DeletePerformer200JSONResponse{Success: true, Message: "The performer is deleted."}, nil
}
