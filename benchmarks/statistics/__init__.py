"""How often each test is wrong, what it finds, and what it says of real agents."""
