"""Programs that make data and weights; nothing that serves imports them."""
