"""Admits queued jobs, sends lost messages again, and expires what is too old."""
