"""HTTP doors: GraphQL, checkout, health, metrics."""
