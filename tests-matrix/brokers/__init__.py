"""Events against real brokers: a Redis and a RabbitMQ of the test's own, which it stops, kills and freezes."""
