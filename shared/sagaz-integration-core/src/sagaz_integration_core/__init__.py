"""The contract of durable sagas: what passes between an engine, its stores and the plugins of web frameworks."""
