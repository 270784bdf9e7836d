"""Webhooks: who is told of what happens to an owner's jobs and batches, and what came of telling.

`outbox` writes events, `endpoints` is what clients do with their endpoints, and `deliveries` is what the scheduler does
with what is due. Every function takes a connection inside the caller's transaction.
"""
