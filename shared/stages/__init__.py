"""The three stages as pure, batched functions, and `Glamm`, the chain of them in one process."""
