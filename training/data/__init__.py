"""Readers of the public data sets, one file a form, all giving the same `Sample`; and their mixture."""
