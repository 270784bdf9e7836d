"""Composed scenes: named objects with exact masks, and the sentences that describe them."""
