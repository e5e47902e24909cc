"""The engine in production: the only place with a database, Redis and a queue."""
