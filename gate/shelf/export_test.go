package shelf

// SetMost makes a shelf smaller than PagesBytesMax.
func (s *Shelf) SetMost(bytes int64) { s.most = bytes }
