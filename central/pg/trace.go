package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Observe is told of each exchange with the server once it is over: how long it took,
// from the request to the end of the answer, and of how many statements it was. BEGIN
// and COMMIT are exchanges like any other. It is called by many goroutines at once.
type Observe func(took time.Duration, statements int)

// tracer measures exchanges for an Observe.
type tracer struct {
	observe Observe
	now     func() time.Time
}

// traced is where a context keeps what the tracer has begun.
type traced struct{}

// exchange is one that is under way.
type exchange struct {
	began      time.Time
	statements int
}

var (
	_ pgx.QueryTracer    = (*tracer)(nil)
	_ pgx.BatchTracer    = (*tracer)(nil)
	_ pgx.CopyFromTracer = (*tracer)(nil)
)

func (t *tracer) begin(ctx context.Context, statements int) context.Context {
	return context.WithValue(ctx, traced{}, &exchange{t.now(), statements})
}

func (t *tracer) end(ctx context.Context) {
	if e, ok := ctx.Value(traced{}).(*exchange); ok {
		t.observe(t.now().Sub(e.began), e.statements)
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return t.begin(ctx, 1)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t *tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { t.end(ctx) }

// TraceBatchStart implements pgx.BatchTracer.
func (t *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	return t.begin(ctx, data.Batch.Len())
}

// TraceBatchQuery implements pgx.BatchTracer: a batch is measured as a whole.
func (*tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (t *tracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { t.end(ctx) }

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (t *tracer) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return t.begin(ctx, 1)
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (t *tracer) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	t.end(ctx)
}
