"""What the events say that stands: each event folded into the rows that it changed, from the log alone."""
