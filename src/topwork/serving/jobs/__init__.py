"""Requests that are answered later, and batches of whole files."""
