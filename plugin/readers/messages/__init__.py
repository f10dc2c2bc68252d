"""Messages of chats become moves: one reading of all common ways to write them."""
