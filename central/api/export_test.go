package api

import "gatehouse/central/staff"

// Access is what the table says of an operation.
type Access struct {
	Need  staff.Permission
	Event bool // it is asked for the event of the path
	Later bool
}

// AccessOf is the row of an operation.
func AccessOf(operation string) (Access, bool) {
	a, ok := accesses()[operation]
	return Access{Need: a.need, Event: a.event != "", Later: a.later}, ok
}

// AccessRows is how many rows the table has.
func AccessRows() int { return len(accesses()) }
