package roster

// Parked is how many readers wait for any stream.
func (r *Roster) Parked() int {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	n := 0
	for _, l := range r.hub.parked {
		n += l.readers
	}
	return n
}
