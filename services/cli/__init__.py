"""The `glamm` command and the client that it is built on."""
