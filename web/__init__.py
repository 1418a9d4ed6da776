"""Pages that people look at: playground and checkout."""
