"""The process of the service: BentoML's frame, served by uvicorn."""
