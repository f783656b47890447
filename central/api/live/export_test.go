package live

// Beat is one tick's heartbeats.
func (h *Hub) Beat() { h.beat() }
