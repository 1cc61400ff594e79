"""Lazy iterators over pages and jobs, sync and async, one page fetched ahead if asked."""
