"""Node types that greet people: an example of a package of one's own."""
