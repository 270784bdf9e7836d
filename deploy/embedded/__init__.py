"""Real servers from wheels and the service's own processes, on loopback, in one terminal."""
