"""Batches from the command line: from a folder to a dataset."""
