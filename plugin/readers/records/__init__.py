"""What the readers share: records, fields, steps, order."""
