"""What is said of 30 faulty and 15 healthy agents, beside what should be."""
