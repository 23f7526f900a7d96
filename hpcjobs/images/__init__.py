"""Container images: what they are, where they come from, and how one form becomes another."""
