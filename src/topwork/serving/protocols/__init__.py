"""How models are asked: topwork's own paths and those of others, and their exact description."""
