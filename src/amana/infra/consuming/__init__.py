"""One runtime for everything that consumes events.

A consumer's progress and its effect are one PostgreSQL transaction, in tables of its own schema (`tables` are in the
schema's migration, statements in `queries.sql`). Whoever reads the same messages again, or at the same time, finds them
taken.

    records    what a message is: its place in a stream, what its codec makes of it
    planning   what becomes of each message of a batch; pure
    store      one method per statement
    taking     a batch in one transaction; what fails alone; dead letters
    letters    listing, redriving and giving up dead letters
    runtime    the loops: take from the broker, fill gaps from the source, tell dead letters, measure
    light      the same edges for a consumer whose effect is no row of a database
"""
