"""Bytes to a page: the body as it comes in, the fast path, the tolerant path, anomalies."""
