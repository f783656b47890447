package pg

// OrNull is v as an argument that is NULL for the zero value.
func OrNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// OrZero is a scanned column, the zero value where it was NULL.
func OrZero[T any](v *T) T {
	var zero T
	if v == nil {
		return zero
	}
	return *v
}
