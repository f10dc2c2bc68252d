"""What is looked for: one finder for each kind of finding, and what finders share."""
