"""Image encoders from nothing, for a small model that has no released CLIP and SAM to begin with."""
