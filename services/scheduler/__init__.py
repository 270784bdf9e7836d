"""Admits queued jobs, sends lost messages again, expires what is too old, and delivers webhooks."""
