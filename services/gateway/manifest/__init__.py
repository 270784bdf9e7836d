"""From the body of POST /batches to rows that the database takes in one go."""
