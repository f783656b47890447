// Package syncprototest holds what tests of the sync protocol need: builders for
// keys, tickets, rules and chains; [Memory], a central that lives in memory; and
// [Run], the suite that any central must pass, the Postgres one included.
//
// Memory is a model, not a toy: a change is assigned a number, committed and
// sealed in separate steps, so that a reader that would skip rows at central
// skips them here. It draws no time and no randomness of its own, so that a
// simulation with one seed runs the same way twice.
package syncprototest
