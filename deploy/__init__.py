"""How GLaMM is run: the embedded stack, container files and the set-up of a checkout."""
