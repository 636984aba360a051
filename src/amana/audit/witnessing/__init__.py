"""An independent witness: a process of its own, best at somebody else's, that cosigns only a log that grows."""
