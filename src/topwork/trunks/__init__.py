"""What is transferred: pretrained networks, and where their weights come from."""
