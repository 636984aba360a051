"""The metrics store: the trail of events for operations, and what is counted from it and from latencies over time.

It is made from the audit log and stands apart from it: nothing here is evidence, and nothing else waits for it.
"""
