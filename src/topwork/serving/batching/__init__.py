"""Who may work when, and what is computed together. It knows no HTTP but what a body becomes."""
