"""Newton's method for the action on sparse graphs."""
