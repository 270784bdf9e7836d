"""Stand-ins from nothing for a small model that has no released CLIP, SAM and LLM to begin with."""
