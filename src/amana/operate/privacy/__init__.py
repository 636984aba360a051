"""`amana privacy`: copies and erasures of customers, the keys that protect them, and sealing what was in clear."""
