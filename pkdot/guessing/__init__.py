"""A first list of recordings and a first configuration for a user's folder, and what could only be guessed."""
