"""The experiments of the paper that need no agent of their own."""
