"""A servable in worker processes: how many, which are broken, and what is said to them."""
