"""Several versions of a model, and many models: who gets which request, and what is opened when."""
