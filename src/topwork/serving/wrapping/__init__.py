"""Servables around servables: a user's own code, and chains of models."""
