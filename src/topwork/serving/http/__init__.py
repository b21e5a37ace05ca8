"""One request in, one response out: connections, keys, paths, bodies, all of it bounded. It knows no model."""
