"""The GraphQL face: schema, roots, types, errors, limits and live streams."""
