"""Real servers from Python wheels, for `amana up`, the demo and the tests: PostgreSQL, Valkey, a Kafka-protocol broker.

They are an extra (`amana[embedded]`) and never part of a production image. A production-like deployment replaces each
one by its URL; nothing else in Amana knows the difference.
"""
