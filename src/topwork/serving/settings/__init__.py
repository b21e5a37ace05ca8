"""What an operator may set, in a file, by flags, and as a JSON Schema."""
