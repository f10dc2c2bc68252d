"""What readers of traces do with files that are damaged or hostile."""
